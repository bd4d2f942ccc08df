"""The tables of docs/imagenet.md and docs/checkpoints.md."""

import statistics

from benchmarks.common.record import Row
from benchmarks.common.tables import made, paragraph, table

IMAGES, STEPS, BATCH = 1_281_167, 400_000, 256
"""Of ImageNet's training set; of the paper's trainings."""
SAMPLES, NFE = 50_000, 48
GFLOP = {"B": 46.0, "L": 161.4, "XL": 237.2}
"""A forward pass of one image with one time, 256 tokens."""
DECODE_TFLOP, ENCODE_TFLOP = 0.622, 0.273
"""Of Stable Diffusion's autoencoder, an image of 256 pixels: counted, not measured."""


def warm_start(measured: list[Row]) -> str:
    """A Patch Forcing model from a SiT, and from scratch."""
    fd = {(row["run"], row["sampling"]["sampler"]): row["fd"] for row in measured}
    steps = {row["run"]: row["steps"] for row in measured}
    names = {
        "sit": "SiT",
        "sit-then-pft": "Patch Forcing (LTG of 8 levels), from it",
        "pft-tenth": "Patch Forcing from scratch",
        "pft": "Patch Forcing from scratch",
    }
    lines = []
    for run, name in names.items():
        length = f"{'+ ' if 'then' in run else ''}{steps[run]:,}"
        cells = [f"{fd[run, sampler]:,.1f}" for sampler in ("euler", "adams-bashforth")]
        lines.append([name, length, *cells])
    lower = 1 - fd["sit-then-pft", "euler"] / fd["sit", "euler"]
    return "\n".join(
        [
            table(["training", "steps", "Euler, 50", "Adams–Bashforth, 16"], lines),
            paragraph(
                "A tenth of the steps turns a SiT into a Patch Forcing model whose FD is "
                f"{lower:.0%} lower, and far lower than after as many steps from scratch.",
                "It does not make up for the SiT's times: a new training does better from scratch.",
            ),
            paragraph("NVIDIA H200; " + _commits(measured)),
        ]
    )


def difficulty_head(report: Row) -> str:
    """A head trained alone, beside the one that the network had."""
    lines = []
    for row in report["rows"]:
        rank, ratio = row["rank_correlation"], row["ratio"]
        lines.append(
            [
                row["head"],
                f"{row['steps']:,}",
                f"{rank['value']:.3f} ({rank['low']:.3f} … {rank['high']:.3f})",
                f"{ratio['value']:.2f}",
                f"{row['gain']:.3f}",
            ]
        )
    own, *new = report["rows"]
    near = [
        row
        for row in new
        if own["rank_correlation"]["value"] - row["rank_correlation"]["value"] < 0.03
    ]
    first = near[0]["steps"] if near else None
    reached = (
        f"After {first:,} steps, {first / own['steps']:.1%} of the model's own, its rank "
        "correlation is within 0.03 of the original's."
        if first
        else "Its rank correlation is not within 0.03 of the original's."
    )
    head = ["head", "steps", "rank correlation", "error / predicted", "gain, nats"]
    return "\n".join([table(head, lines), paragraph(reached), paragraph(made(report))])


def _commits(rows: list[Row]) -> str:
    torch = dict.fromkeys(row["versions"]["torch"] for row in rows)
    commits = dict.fromkeys(row["commit"] for row in rows)
    return f"torch {', '.join(torch)}; commits {', '.join(commits)}."


def paper(report: Row) -> str:
    """What the paper reached; nobody has here."""
    names = {
        "sit, euler": "SiT, Euler",
        "pft, euler": "PF, Euler",
        "pft, dual-loop": "PF, dual-loop",
        "pft, look-ahead": "PF, look-ahead",
    }
    lines = [[row["size"], *(f"{row[key]:.1f}" for key in names)] for row in report["rows"]]
    return table(["FID of the paper", *names.values()], lines)


def hours(training: Row, sampling: Row, latents: Row) -> str:
    """What the table of ImageNet takes, computed from rates that were measured."""
    images = {row["what"]: 1e3 * row["batch"] / row["ms"] for row in training["rows"]}
    exact, levels = (images[f"training, {times}, ours"] for times in ("LTG", "LTG of 8 levels"))
    forward = {row["what"]: row for row in sampling["rows"]}["forward, one time, ours"]
    encode = {
        row["options"]["precision"]: statistics.median(row["encode_images_per_second"])
        for row in latents["encoding"]
    }
    alone = statistics.median(latents["encoding"][1]["autoencoder_images_per_second"])
    decode_rate = 2 * ENCODE_TFLOP * alone
    train = {size: STEPS * BATCH / (exact * GFLOP["XL"] / flop) for size, flop in GFLOP.items()}
    ms, batch = forward["ms"], forward["batch"]
    sample = SAMPLES / batch * NFE * ms / 1e3
    decode = SAMPLES * DECODE_TFLOP / decode_rate
    rows = [
        ("train XL/2", f"{STEPS:,} · {BATCH} / {exact:.0f} s", train["XL"]),
        ("the same, 8 levels", f"… / {levels:.0f}", STEPS * BATCH / levels),
        ("train L/2 (estimate)", f"… / ({exact:.0f} · 237.2 / 161.4)", train["L"]),
        ("train B/2 (estimate)", f"… / ({exact:.0f} · 237.2 / 46.0)", train["B"]),
        ("sample XL/2, 48 evaluations", f"{SAMPLES:,} / {batch} · {NFE} · {ms:.1f} ms", sample),
        ("… 250 evaluations", "", sample * 250 / NFE),
        ("… guided, 48", "twice that of 48", 2 * sample),
        (
            "decode 50,000 (estimate)",
            f"{SAMPLES:,} · {DECODE_TFLOP} TFLOP / {decode_rate:.0f} TFLOP/s",
            decode,
        ),
        ("encode, fp32", f"{IMAGES:,} / {encode['fp32']:.0f} s", IMAGES / encode["fp32"]),
        ("… bf16", f"… / {encode['bf16']:.0f} s", IMAGES / encode["bf16"]),
    ]
    lines = [[what, how, f"{s / 3600:.2f}", f"{s / 3600 / 8:.3f}"] for what, how, s in rows]
    trained = 2 * sum(train.values()) / 3600
    arrays = sum(4 * (sample * flop / GFLOP["XL"] + decode) for flop in GFLOP.values()) / 3600
    whole = trained + arrays
    return "\n".join(
        [
            table(["hours", "formula", "1 GPU", "8 GPUs"], lines),
            paragraph(
                f"The whole table, six trainings and twelve arrays of {SAMPLES:,}, takes about "
                f"{whole:.0f} hours of one GPU or {whole / 8:.0f} of eight.",
                f"Training takes {trained:.0f} of the {whole:.0f}.",
            ),
        ]
    )


def encoding(*reports: Row) -> str:
    """The share of the autoencoder's own rate that `encode` reaches."""
    lines = []
    for report in reports:
        for row in report["encoding"]:
            width = "" if max(row["autoencoder"]["widths"]) == 512 else ", a small autoencoder"
            low, high = min(row["shares"]), max(row["shares"])
            lines.append(
                [
                    row["hardware"] + width,
                    row["options"]["precision"],
                    f"{row['images']:,}",
                    f"{statistics.median(row['autoencoder_images_per_second']):.0f}",
                    f"{statistics.median(row['encode_images_per_second']):.0f}",
                    f"{row['share_of_autoencoder']:.1%} ({100 * low:.1f} to {100 * high:.1f})",
                ]
            )
    header = ["where", "precision", "images", "autoencoder, images/s", "`encode`, images/s"]
    commits = ", ".join(dict.fromkeys(report["commit"] for report in reports))
    return f"{table([*header, 'share'], lines)}\n{paragraph(f'Commits {commits}.')}"


def reading(training: Row) -> str:
    """How many latents a training needs."""
    images = {row["what"]: 1e3 * row["batch"] / row["ms"] for row in training["rows"]}
    needed = 8 * max(rate for what, rate in images.items() if "ours" in what)
    return paragraph(
        "Training reads latents that are mapped into memory.",
        f"XL/2 on eight GPUs needs {needed:,.0f} a second at most, eight times what one trains.",
        "`python -m benchmarks.latents.run --parts reading` measures how many a machine reads.",
        "The GPU draws them from their posterior; on a CPU that is slow.",
    )
