"""The benchmark of natural images: its parts, and whole commands on toys."""

import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.common.record import ROOT, append_row, read_rows
from benchmarks.common.tasks import Sampling, Task, tasks_of
from benchmarks.natural import claims, pacs, run
from benchmarks.natural.classifier import load_classifier, shifted
from benchmarks.natural.pacs_judge import HELD_OUT, Pictures
from benchmarks.natural.probe import Probe
from benchmarks.natural.settings import GROUPED, LTG, SETS, SIT, Model
from benchmarks.pages import natural, natural_samplers
from benchmarks.pages.pacs import pacs as pacs_table
from tests.support.autoencoders import small_taef2

STYLES = ("art_painting", "cartoon", "photo", "sketch")
THINGS = ("giraffe", "guitar", "horse", "house")


def write_images(folder, size, count, seed=0):
    """Slopes of another colour in each folder."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[:size, :size] / size
    for number in range(count):
        parts = [np.sin(7 * x + seed + number), np.cos(5 * y - seed), x * y + seed / 7]
        pixels = (127 * np.clip(np.stack(parts, axis=2), 0, 2)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def start(monkeypatch, module, line):
    monkeypatch.setattr(sys, "argv", ["x", "--device", "cpu", "--toy", *line.split()])
    module.main()


def test_the_probe_is_softmax_regression():
    """As scikit-learn fits it, on standardised features."""
    from sklearn.linear_model import LogisticRegression

    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (200,), generator=generator)
    features = torch.randn(200, 5, generator=generator) + labels[:, None] * torch.arange(5) / 4
    probe = Probe.fit(features, labels, 3, decay=0.01)
    seen = (features - features.mean(0)) / features.std(0)
    theirs = LogisticRegression(C=1 / (0.01 * 200), tol=1e-8, max_iter=1000)
    theirs.fit(seen.numpy(), labels.numpy())
    chances = (seen @ probe.weight + probe.bias).softmax(1)
    assert chances.numpy() == pytest.approx(theirs.predict_proba(seen.numpy()), abs=2e-3)
    right = theirs.score(seen.numpy(), labels.numpy())
    assert probe.accuracy(features, labels) == pytest.approx(right, abs=0.006)


def test_images_of_the_classifier_are_moved_and_mirrored_only():
    x = torch.arange(16.0).view(1, 1, 1, 16).expand(64, 1, 16, 16)
    torch.manual_seed(0)
    steps = shifted(x).diff(dim=3)
    assert set(steps.unique().tolist()) <= {-1.0, 1.0}  # the edge is a mirror
    middles = steps[:, 0, 0, 7]
    assert (middles > 0).any() and (middles < 0).any()


def fake(sampling, value, model=None, networks=1):
    """A row as the benchmark writes it."""
    measure = {"network": "n", "accuracy": 0.5}
    measure["fd"] = {
        name: {"value": value + more, "low": value - 1, "high": value + 1}
        for name, more in (("held-out", 0), ("train", 1))
    }
    model = model or Model("cifar10", GROUPED, 0)
    row = {"kind": "samples", "model": asdict(model), "sampling": asdict(sampling)}
    row |= {"nfe": sampling.nfe, "from_flow": 2.0, "measures": [measure] * networks}
    return row


def test_what_is_chosen_on_seed_0_is_the_least_of_all_that_were_tried():
    tried = [Sampling(spec, 48) for spec in claims.SEARCH["look-ahead"]]
    rows = [fake(one, 5 - number % 4) for number, one in enumerate(tried)]
    assert claims.best_options("cifar10", "look-ahead", rows) == tried[3].sampler
    assert claims.best_options("cifar10", "look-ahead", rows[:-1]) is None
    assert claims.best_options("imagenette", "look-ahead", rows) is None
    on_grids = [fake(Sampling("euler", 12, grid=g), v) for g, v in (("uniform", 3), ("fitted", 2))]
    other = fake(Sampling("euler", 12, grid="fitted"), 1, Model("cifar10", GROUPED, 0, lr=0.1))
    assert claims.best_grid("cifar10", "euler", 12, [other, *on_grids]) == "fitted"
    assert claims.best_grid("cifar10", "euler", 12, on_grids[:1]) is None


def test_every_table_names_models_once_and_rows_take_their_results_away():
    wanted = list(claims.claims("imagenette", list(claims.TABLES), []))
    tasks = tasks_of(wanted, [])
    assert len({task.model for task in tasks}) == len(tasks)
    first = next(task for task in tasks if task.model == Model("imagenette", SIT, 0))
    rows = [fake(one, 1, first.model) for one in first.samplings[1:]]
    assert first.without(rows) == Task(first.model, first.samplings[:1], first.wants_difficulty)
    assert {model.size for model, _ in map(claims.as_toy, wanted)} == {"toy"}
    names = [model.run for model, _ in wanted if model.steps is None]
    assert len(set(names)) == len({model for model, _ in wanted if model.steps is None})


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(name, marks=pytest.mark.slow if one.latent else ())
        for name, one in SETS.items()
    ],
)
def test_a_toy_run_measures_and_then_has_nothing_left(data, tmp_path, monkeypatch, capsys):
    one = SETS[data]
    for part, count in (("train", 8), (one.held_out, 6)):
        for number, name in enumerate(("ant", "bee")):
            write_images(tmp_path / "images" / part / name, one.size, count, number)
    codec = small_taef2(tmp_path / "taef2.safetensors")
    line = (
        f"--data {data} --images {tmp_path}/images --out {tmp_path}/out --work {tmp_path}/work "
        f"--features {tmp_path}/features --networks --samples 8 --epochs 1 "
        f"--autoencoder {codec} --only {data}-{GROUPED.replace(':', '-').replace('=', '-')}-toy-0 "
        "--tables few difficulty"
    )
    monkeypatch.setattr(claims, "FEW", (4,))
    start(monkeypatch, run, line)
    rows = read_rows(tmp_path / "out/rows.jsonl")
    kinds = [row["kind"] for row in rows]
    assert kinds == ["real", "training", "difficulty", *["samples"] * 3]
    assert rows[0]["judges"][0]["network"].startswith(f"classifier-{data} ")
    steps = rows[1]["speeds"]
    assert steps.keys() == rows[1]["losses"].keys() and min(steps.values()) > 0
    samples = rows[3:]
    assert [row["nfe"] for row in samples] == [4, 4, 24]
    fd = samples[0]["measures"][0]["fd"]["held-out"]
    assert fd["low"] <= fd["value"] <= fd["high"]
    assert samples[0]["from_flow"] > 0
    if one.latent:
        return
    start(monkeypatch, run, line)
    assert read_rows(tmp_path / "out/rows.jsonl") == rows
    start(monkeypatch, run, f"{line} --out {tmp_path}/more --known {tmp_path}/out/rows.jsonl")
    assert not (tmp_path / "more/rows.jsonl").exists()
    other = dict(samples[0], measures=[{**samples[0]["measures"][0], "network": "other"}])
    append_row(tmp_path / "other.jsonl", other)
    with pytest.raises(SystemExit):
        start(monkeypatch, run, f"{line} --known {tmp_path}/other.jsonl")
    assert "give the classifier's file with --features" in " ".join(capsys.readouterr().err.split())


def test_the_published_classifier_is_taken_unless_a_folder_is_named(tmp_path):
    options = run.command().parse_args(["--images", "x"])
    file = run.classifier_file(options.features, "cifar10")
    assert file.parent == ROOT / "docs/results/natural"
    network, about = load_classifier(file, "cifar10")
    (real,) = (row for row in read_rows(file.with_name("rows.jsonl")) if row["kind"] == "real")
    assert real["classifier"] == about
    assert network.name == real["judges"][1]["network"]  # which has the file's hash
    assert run.classifier_file(None, "imagenette").parent == run.MADE
    assert run.classifier_file(tmp_path, "cifar10").parent == tmp_path


def test_tables_of_natural_images():
    models = [Model("cifar10", name, seed) for name in (SIT, LTG, GROUPED) for seed in (0, 1)]
    rows = [
        fake(sampling, 4 - (model.timesteps == GROUPED), model, networks=2)
        for model in models
        for sampling in (
            Sampling("euler", 48),
            Sampling("adams-bashforth", 12),
            Sampling("adams-bashforth", 12, grid="fitted"),
            Sampling("adams-bashforth", 12, 2.0, (0.1, 0.8)),
        )
    ]
    rows = [{**row, "sampling": as_json(row["sampling"])} for row in rows]
    text = natural.timesteps(rows)
    assert "| LTG, K = 8 | 3.00 ± 0.00 | 3.00 ± 0.00 | −25 % | 4.00 ± 0.00 | 50.0 ± 0.0 |" in text
    assert "Imagenette" not in text
    assert "| Adams–Bashforth | 12 | equal | 3.00 ± 0.00 |" in natural.few(rows)
    samplers = natural_samplers.samplers(rows)
    assert "| LTG, K = 8 | Adams–Bashforth | best on seed 0 | **3.00" in samplers
    assert "| Adams–Bashforth | 12 | 3.00, 2.0 |  |  |  | 3.00, 2.0 |" in natural_samplers.grids(
        rows
    )
    guided = natural_samplers.guidance(rows)
    assert "| Adams–Bashforth | 12 | t 0.1 … 0.8 | 3.00, 50% | 3.00, 50% |" in guided


def as_json(sampling):
    return {**sampling, "interval": sampling["interval"] and list(sampling["interval"])}


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    root = tmp_path_factory.mktemp("pacs")
    for number, style in enumerate(STYLES):
        for other, thing in enumerate(THINGS):
            write_images(root / style / thing, 64, 3, 4 * number + other)
    return root


def test_held_out_pairs_are_shown_to_nobody_and_asked_for_apart(drawings, tmp_path):
    real = Pictures.of(drawings, 64)
    assert (real.styles, real.things) == (STYLES, THINGS)
    assert int(real.held_out.sum()) == 3 * len(HELD_OUT)
    seen = pacs.seen_pairs(drawings, tmp_path / "seen")
    pairs = {(folder.parent.name, folder.name) for folder in seen.glob("*/*")}
    assert pairs == {(s, t) for s in STYLES for t in THINGS} - set(HELD_OUT)
    prompts, style, thing = pacs.prompts_of(real, True, 5)
    assert prompts[:2] == ["an art painting of a horse", "a cartoon of a house"]
    assert (style.tolist(), thing.tolist()) == ([0, 1, 2, 3, 0], [2, 3, 0, 1, 2])
    assert not set(prompts) & set(pacs.prompts_of(real, False, 24)[0])


@pytest.mark.slow
def test_a_toy_run_of_pacs(drawings, tmp_path, monkeypatch):
    line = (
        f"--images {drawings} --out {tmp_path}/rows.jsonl --work {tmp_path}/work --network emoji "
        f"--kinds pixels latents --autoencoder {small_taef2(tmp_path / 'taef2.safetensors')} "
        "--timesteps ltg:levels=8 --samples 4 --guidance 1 2"
    )
    monkeypatch.setitem(pacs.SAMPLERS, "euler 48", {"sampler": "euler", "nfe": 6})
    start(monkeypatch, pacs, line)
    rows = read_rows(tmp_path / "rows.jsonl")
    assert [row["what"] for row in rows] == 2 * ["real", "training", *["samples"] * 4]
    text = pacs_table(rows)
    assert "| pixels | real pictures |  |  | held-out |" in text
    assert "| latents | LTG, K = 8 | euler 48 | 2 | seen |" in text
    start(monkeypatch, pacs, line)
    assert read_rows(tmp_path / "rows.jsonl") == rows
