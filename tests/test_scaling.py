"""The benchmark of several GPUs: its figures, its plan, how it goes on, and its toy run."""

import json
import sys
from argparse import Namespace

import pytest

from benchmarks.common.record import read_rows
from benchmarks.pages import scaling as page
from benchmarks.scaling import run
from benchmarks.scaling.attempt import Host
from benchmarks.scaling.figures import (
    compared,
    efficiency,
    hours,
    price,
    share_of_products,
    steady_rate,
)
from benchmarks.scaling.plan import TOY, Sizes, Task, legs, missing, plan
from benchmarks.scaling.processes import (
    Ended,
    FailedError,
    Start,
    as_ranks,
    check,
    reason,
    run_together,
)

ONE, TWO = "training, exact LTG, one, 1 × 128", "training, exact LTG, DDP, 2 × 128"


def test_figures():
    assert efficiency(1080, gpus=2, one=600) == 0.9
    assert share_of_products(100, gpus=2, flop=1e9, matrix_rate=1e12) == 0.15
    assert hours(1000, images=36_000_000) == 10
    assert price(10, gpus=8, gpu_hour=2.5) == 200


def test_the_steady_rate_leaves_out_each_processes_first_shard():
    # rank 0 makes a shard in 2 s after 10, rank 1 in 4 s after 30
    finished = {0: 10.0, 2: 12.0, 4: 14.0, 1: 30.0, 3: 34.0}
    assert steady_rate(finished, world=2, size=8) == 8 / 2 + 8 / 4
    assert steady_rate({0: 10.0, 1: 11.0}, world=2, size=8) == 0


def trained(how, gpus, batch, rate, parts=1, place="here", **more):
    facts = {"part": "training", "times": "exact LTG", "how": how, "gpus": gpus, "batch": batch}
    return {**facts, "parts": parts, "images_per_second": rate, "place": place, **more}


def test_rows_are_held_against_one_gpu_of_the_same_machine():
    products = {"matrix_rate": 600e12, "gflop_per_image": 1000.0}
    one = trained("one", 1, 128, 100.0, **products)
    parts = trained("one", 1, 256, 80.0, parts=2, **products)
    two, four = trained("DDP", 2, 256, 190.0), trained("DDP", 4, 256, 240.0)
    away = trained("DDP", 2, 256, 190.0, place="elsewhere")
    failed = {"part": "training", "gpus": 1, "place": "here", "error": "no"}
    sampled = [
        {"part": "sampling", "images": 64, "gpus": n, "images_per_second": rate, "place": "here"}
        for n, rate in ((1, 10.0), (2, 19.0))
    ]
    beside = compared([one, parts, two, four, away, failed, *sampled])
    keys = ("weak_efficiency", "strong_efficiency", "share")
    assert [[row.get(key) for key in keys] for row in beside] == [
        [None, None, 0.5],
        [None, None, 0.4],
        [0.95, 1.1875, 0.475],
        [None, 0.75, 0.3],
        [None, None, None],
        [None, None, None],
        [None, None, None],
        [0.95, None, None],
    ]


@pytest.mark.parametrize("counts", [[1], [1, 2], [1, 2, 4], [1, 2, 4, 8]])
@pytest.mark.parametrize("sizes", [Sizes(), TOY])
def test_every_row_of_a_plan_comes_after_the_one_it_is_held_against(sizes, counts):
    names = [task.name for task in plan(sizes, counts)]
    assert len(set(names)) == len(names)
    before_it = [task for task in plan(sizes, counts) if task.reference]
    assert bool(before_it) == (len(counts) > 1)
    for task in before_it:
        assert names.index(task.reference) < names.index(task.name)


def test_the_plan_of_two_gpus():
    tasks = {task.name: task for task in plan(Sizes(), [1, 2])}
    assert len(tasks) == 16
    assert tasks[TWO].reference == ONE
    assert tasks[TWO].facts == {"times": "exact LTG", "how": "DDP", "batch": 256, "parts": 1}
    # two GPUs of 128 images are the whole batch of 256, which one takes in parts
    assert tasks["training, exact LTG, one, 1 × 256 in 2 parts"].facts["parts"] == 2
    assert Sizes.at_least(10_000).samples == 10_240


def test_a_run_goes_on_with_all_two_and_one():
    assert legs([1, 2]) == [(2, "replicate"), (1, "replicate"), (2, "shard"), (1, "replicate")]
    assert [ranks for ranks, _ in legs([1, 2, 4, 8])] == [8, 2, 1, 8, 2, 1]


def test_missing_rows_have_their_reference_measured_on_their_own_machine():
    one, two = Task(ONE, "training", 1, 1), Task(TWO, "training", 2, 1, reference=ONE)
    here, there = ({"name": ONE, "place": place} for place in ("here", "there"))
    assert missing([one, two], [], "here") == [one, two]
    assert missing([one, two], [here], "here") == [two]
    assert missing([one, two], [there], "here") == [one, two]
    assert missing([one, two], [there, {"name": TWO, "place": "there"}], "here") == []


def test_a_report_holds_the_newest_rows_and_those_not_measured_again():
    rows = [
        {"name": "a", "part": "killed", "error": "no", "log": "long"},
        {"name": "a", "part": "killed", "seconds": 1},
        {"name": "b", "part": "killed", "error": "no", "log": "long"},
    ]
    before = {"rows": [{"name": "a", "seconds": 9}, {"name": "c", "seconds": 3}]}
    assert run.report(rows, 2.5, before) == {
        "usd_per_gpu_hour": 2.5,
        "rows": [
            {"name": "a", "part": "killed", "seconds": 1},
            {"name": "c", "seconds": 3},
            {"name": "b", "part": "killed", "error": "no"},
        ],
    }


def test_a_toy_run_does_not_write_over_measurements(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run", "--toy"])
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == 2
    assert "--toy measures nothing to keep: name a file" in capsys.readouterr().err


def test_rows_are_chosen_by_their_names():
    tasks = [Task(ONE, "training", 1, 1), Task("losses", "losses", 2, 1)]
    assert run._chosen(tasks, None) == tasks
    assert run._chosen(tasks, ["los", "killed"]) == tasks[1:]
    with pytest.raises(SystemExit) as ended:
        run._chosen(tasks, ["lost"])
    assert ended.value.code == (f"--only ['lost'] is in no row's name: the names are {ONE}; losses")


def test_a_row_that_fails_leaves_its_error_and_one_over_the_budget_is_left(tmp_path):
    options = Namespace(
        budget=60.0, rows=tmp_path / "rows.jsonl", out=tmp_path / "out.json", gpu_hour=3.0
    )
    tasks = [Task("a", "nothing", 1, 1), Task("long", "nothing", 1, 90), Task("b", "nothing", 2, 1)]
    left = run.measure(tasks, Host("cpu", 2, tmp_path), options)
    assert left == ["long"]
    rows = read_rows(options.rows)
    assert [(row["name"], row["gpus"], row["error"]) for row in rows] == [
        ("a", 1, "KeyError('nothing')"),
        ("b", 2, "KeyError('nothing')"),
    ]
    assert [row["name"] for row in json.loads(options.out.read_text())["rows"]] == ["a", "b"]


ORIGIN = {"hardware": "2 × X", "versions": {"torch": "2"}, "date": "1999-12-31", "commit": "abc"}


def test_the_page_shows_hours_and_price_of_the_recipe_by_count():
    rows = [
        trained("DDP", 2, 256, 1000.0, strong_efficiency=0.95, weak_efficiency=0.96),
        trained("one", 1, 256, 500.0, parts=2),
        trained("DDP", 8, 1024, 4000.0, weak_efficiency=0.9),
        {"part": "training", "name": "FSDP2", "error": "out of memory"},
    ]
    report = {"usd_per_gpu_hour": 3.0, "rows": rows}
    _, _, one, two, *rest = page.fixed_batch(report).splitlines()
    # 400,000 steps of 256 images: 102.4 million
    assert one == "| exact LTG | 1 | alone | 2 × 128 | 500.0 |  | 56.9 | 171 |"
    assert two == ("| exact LTG | 2 | whole models (DDP) | 128 | 1,000.0 | 95.0% | 28.4 | 171 |")
    assert rest[0] == ""
    assert page.in_short(report).replace("\n", " ") == (
        "Two GPUs of a host train XL/2 at 96% of twice one's rate. "
        "Eight GPUs of a host train XL/2 at 90% of eight times one's rate. "
    )
    assert page.failures(report) == "- FSDP2: out of memory\n"


def test_the_page_says_how_far_arrays_are_apart():
    facts = {"part": "sampling", "images": 64, "nfe": 24.0, "seconds_without_start": 4.0, **ORIGIN}
    one = {**facts, "gpus": 1, "images_per_second": 16.0, "seconds": 50.0, "sha256": "a" * 64}
    two = {**one, "gpus": 2, "sha256": "b" * 64, "most_apart": 1, "share_apart": 0.002}
    text = page.sampling({"rows": [two | {"weak_efficiency": 0.99}, one]})
    assert "| 1 | 64 | 24 | 16.0 |  | 4.0 | 50.0 | aaaaaaaaaaaa |\n" in text
    assert "| 2 | 64 | 24 | 16.0 | 99.0% | 4.0 | 50.0 | bbbbbbbbbbbb |\n" in text
    assert "On 2 GPUs 0.20% of the numbers differ, by at most 1 of 255. 2 × X; torch 2;" in text


def python(code: str, **variables: str) -> Start:
    return Start(["-c", code], variables)


def test_processes_end_when_one_fails_and_say_why():
    waits, fails = python("import time; time.sleep(60)"), python("raise ValueError('no room')")
    ended = run_together([waits, fails], {}, limit=50, patience=0)
    assert [one.status for one in ended] == [None, 1]
    assert reason(ended) == "ValueError: no room"
    with pytest.raises(FailedError) as failed:
        check(ended)
    assert failed.value.row["error"] == "ValueError: no room"
    assert "[process 1]\nTraceback" in failed.value.row["log"]


def test_processes_end_at_their_limit():
    ended = run_together([python("import time; time.sleep(60)")], {}, limit=0)
    assert (ended[0].status, reason(ended)) == (None, "not done in time")


def test_ranks_know_each_other():
    show = "import os; print(*map(os.environ.get, ['RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'OWN']))"
    ended = run_together(as_ranks(2, ["-c", show]), {"OWN": "x"}, limit=60)
    assert [one.log for one in ended] == ["0 0 2 x\n", "1 1 2 x\n"]
    assert as_ranks(1, ["-c", show]) == [python(show)]
    check(ended)


def test_the_cause_comes_before_what_it_led_to():
    lost = Ended(2, 0.0, "patch-forcing: rank 0 of 2 lost the others\n")
    full = Ended(2, 0.0, "x\npatch-forcing: out of memory before the first step: --accumulate 2\n")
    assert reason([lost, full]).startswith("patch-forcing: out of memory")
    assert reason([lost, Ended(-9, 0.0, "")]) == "patch-forcing: rank 0 of 2 lost the others"
    assert reason([Ended(-9, 0.0, "")]) == "exit status -9"


@pytest.mark.slow
def test_the_toy_run_measures_rows_and_a_second_call_those_that_are_missing(
    tmp_path, monkeypatch, capsys
):
    out = tmp_path / "toy.json"

    def call(*options: str) -> int:
        command = ["run", "--toy", "--out", str(out), "--work", str(tmp_path / "work"), *options]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            run.main()
        assert not ended.value.code, capsys.readouterr().out
        return len(read_rows(out.with_suffix(".jsonl")))

    first = ["killed, DDP", "sampling"]
    more = ["losses", "killed", "exact LTG, one, 1 × 4", "exact LTG, DDP, 2 × 4", "recorded"]
    assert call("--only", *first) == 3
    assert call("--only", *first, *more) == 8
    assert call("--only", *first, *more) == 8
    rows = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    two = rows["sampling, 32 images, 2 × GPU"]
    assert two["most_apart"] == 0
    assert two["sha256"] == rows["sampling, 32 images, 1 × GPU"]["sha256"]
    assert rows["training, exact LTG, DDP, 2 × 4"].keys() >= {"weak_efficiency", "share"}
    for how in ("DDP", "FSDP2"):
        dead = rows[f"rank killed, {how}"]
        assert dead["statuses"] == [2, -9]
        assert dead["message"] == "rank 1 was last seen in step 4, until the sum of its gradients"
    report = {"rows": [*rows.values()], "usd_per_gpu_hour": 3.0}
    assert "The arrays are the same to the byte." in page.sampling(report)
    assert "Losses of 20 steps on 2 GPUs are within" in page.same_run(report)
    assert rows["recorded step"]["differences"].keys() == {"adamw ltg None"}
    assert page.failures(report) == "None.\n"
