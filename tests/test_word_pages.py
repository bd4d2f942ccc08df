"""Tables of text rendering, of made-up rows."""

import pytest

from benchmarks.pages import words

ABOUT = {"hardware": "a GPU", "versions": {"torch": "2"}, "commit": "c", "date": "2026-11-30"}


def model(timesteps: str, seed: int = 0) -> dict:
    return {"size": "line", "timesteps": timesteps, "seed": seed, "steps": 8}


def samples(timesteps: str, kind: str, exact: float, guidance: float = 1.0, seed: int = 0) -> dict:
    sampling = {"sampler": "euler", "nfe": 24, "guidance": guidance, "words": kind}
    return ABOUT | {
        "kind": "samples",
        "model": model(timesteps, seed),
        "sampling": sampling,
        "images": 10,
        "exact": exact,
        "exact_interval": [exact - 0.1, exact + 0.1],
        "distance": 1.5,
        "distance_interval": [1.0, 2.0],
        "by_length": {str(n): exact for n in range(3, 9)},
    }


def real(exact: float) -> dict:
    return {"exact": exact, "exact_interval": [exact - 0.01, exact]}


def test_samples_have_a_table_for_each_guidance_and_a_line_for_each_training():
    rows = [
        samples("ltg", kind, exact, guidance)
        for guidance in (1.0, 3.0)
        for kind, exact in (("seen", 0.5), ("unseen", 0.25))
    ]
    rows.append(samples("shared-uniform", "seen", 0.75, 3.0))
    text = words.exact_lines(rows)
    assert text.count("Guidance") == 2
    assert "| training | words | Euler, 24 |\n" in text
    assert text.count("| LTG | unseen | 25.0 [15.0, 35.0] |") == 2
    last = text.partition("Guidance 3")[2]
    # in the order of the trainings, whichever ended first
    assert last.index("| shared uniform (SiT) | seen | 75.0 [65.0, 85.0] |") < last.index("LTG")
    assert "Training seeds: 1; words of each kind: 10; 95 % intervals." in text
    assert "| LTG | seen | 1.50 [1.00, 2.00] |" in words.distance_lines(rows)
    assert "| line | LTG | 3 | 25.0 | 25.0 | 25.0 | 25.0 | 25.0 | 25.0 |" in words.by_length(rows)
    assert words.by_ocr(rows).startswith("### Line\n\nGuidance 1:\n")


def test_several_seeds_have_a_mean_and_a_deviation():
    rows = [samples("ltg", "seen", exact, seed=seed) for seed, exact in enumerate((0.5, 0.7))]
    text = words.exact_lines(rows)
    assert "| LTG | seen | 60.0 ± 14.1 |" in text
    assert "Training seeds: 2; words of each kind: 10; mean ± deviation." in text


def test_readers_have_their_accuracy_on_real_images():
    ours = {"kind": "recogniser", "size": "line", "counted": 9, **ABOUT}
    ours["real"] = {"seen": real(1.0), "unseen": real(0.99)}
    ocr = [
        {"kind": "real", "size": "line", "reader": "PP", "images": 5, **real(0.98), **ABOUT}
        for _ in range(2)
    ]
    text = words.readers([ours], ocr)
    assert "| line | recogniser | 100.0 [99.0, 100.0] | 99.0 [98.0, 99.0] | 9 |" in text
    assert "| line | PP | 98.0 [97.0, 98.0] | 98.0 [97.0, 98.0] | 5 |" in text


def test_difficulty_and_settling_have_a_line_for_each_model():
    at = {"letters": 0.4, "background": 0.1, "true_letters": 0.6, "true_background": 0.2}
    by_time = [{"t": 0.5, "told_apart": 0.9, **at}]
    row = {"kind": "difficulty", "model": model("ltg"), "by_time": by_time, **ABOUT}
    text = words.difficulty([row])
    assert "| line | LTG | 0 | letters : background, predicted | 4.0 |" in text
    assert "| line | LTG | 0 | letters : background, true | 3.0 |" in text
    assert "| line | LTG | 0 | told apart | 0.90 |" in text
    keys = ("letters", "letters_of_right_words", "letter_patches", "background_patches")
    row = samples("ltg", "unseen", 0.5) | {"kind": "settling"}
    row |= {key: {"value": 0.5} for key in keys} | {"letters_of_wrong_words": None}
    row |= {"with_place": {"value": 0.25}, "with_difficulty": None}
    line = "| line | LTG | 0 | Euler, 24 | 0.50 | 0.50 |  | 0.50 | 0.50 | 0.25 |  |"
    assert line in words.settling([row])


@pytest.mark.parametrize("table", [words.exact_squares, words.distance_squares])
def test_sizes_have_tables_of_their_own(table):
    square = samples("ltg", "seen", 0.5)
    square["model"]["size"] = "square"
    assert "| LTG | seen |" in table([square, samples("shared-uniform", "seen", 0.1)])
    assert "SiT" not in table([square, samples("shared-uniform", "seen", 0.1)])
