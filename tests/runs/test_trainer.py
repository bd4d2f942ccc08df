"""Training resumes exactly, stops cleanly, and keeps its last checkpoint."""

import dataclasses
import json
import signal
import time
from dataclasses import dataclass

import pytest
import torch

import patch_forcing as pf
from patch_forcing.data.batch import Batch, TensorData
from patch_forcing.data.sources import Digits
from patch_forcing.io.atomic import broken_file
from patch_forcing.io.run_layout import checkpoint_step, checkpoints
from patch_forcing.runs.stops import Interrupted
from patch_forcing.runs.trainer import train
from tests.support.same_runs import assert_same, losses, tensors


@pytest.mark.parametrize(
    ("optimizer", "stop"),
    [
        ("adamw", 3),
        ("muon", 5),
        *(
            pytest.param(*rest, marks=pytest.mark.slow)
            for rest in (("adamw", 1), ("adamw", 5), ("muon", 1), ("muon", 3))
        ),
    ],
)
def test_a_resumed_run_is_bitwise_the_run_that_never_stopped(recipe, tmp_path, stop, optimizer):
    recipe = dataclasses.replace(
        recipe, optimizer=dataclasses.replace(recipe.optimizer, name=optimizer)
    )
    whole = train("digits", recipe, tmp_path / "whole", progress=False)
    train("digits", dataclasses.replace(recipe, steps=stop), tmp_path / "parts", progress=False)
    parts = train("digits", recipe, tmp_path / "parts", progress=False)
    assert parts.steps_before == stop
    assert_same(whole.checkpoint, parts.checkpoint)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def test_lines_written_after_the_last_checkpoint_are_not_repeated(recipe, tmp_path):
    train("digits", dataclasses.replace(recipe, steps=2), tmp_path / "run", progress=False)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 3, "total": 99.0}\n{"step": 4, "tot')  # lost with a power cut
    train("digits", recipe, tmp_path / "run", progress=False)
    assert [step for step, _ in losses(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_the_callers_random_state_is_left_alone_and_has_no_say(recipe, tmp_path):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one = train("digits", recipe, tmp_path / "one", progress=False)
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(8)
    other = train("digits", recipe, tmp_path / "other", progress=False)
    assert_same(one.checkpoint, other.checkpoint)


def test_the_seed_and_the_timesteps_change_the_run(recipe, tmp_path):
    base = train("digits", recipe, tmp_path / "base", progress=False)
    for name, change in (("seed", {"seed": 1}), ("times", {"timesteps": "shared-uniform"})):
        other = train(
            "digits", dataclasses.replace(recipe, **change), tmp_path / name, progress=False
        )
        ours, theirs = tensors(base.checkpoint), tensors(other.checkpoint)
        assert any(not ours[key].equal(theirs[key]) for key in ours)


def test_what_a_deterministic_run_refuses_is_allowed_again_after_it(recipe, tmp_path):
    deterministic = dataclasses.replace(recipe, steps=1, deterministic=True)
    train("digits", deterministic, tmp_path / "run", progress=False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_training_learns(recipe, tmp_path):
    train("digits", dataclasses.replace(recipe, steps=60), tmp_path / "run", progress=False)
    totals = [total for _, total in losses(tmp_path / "run")]
    assert sum(totals[-10:]) < 0.8 * sum(totals[:10])


def test_bf16_computes_low_and_keeps_weights_in_fp32(recipe, tmp_path):
    low = dataclasses.replace(recipe, precision="bf16")
    outcome = train("digits", low, tmp_path / "low", progress=False)
    full = train("digits", recipe, tmp_path / "full", progress=False)
    assert {tensor.dtype for tensor in tensors(outcome.checkpoint).values()} == {torch.float32}
    ours, theirs = tensors(outcome.checkpoint), tensors(full.checkpoint)
    assert any(not ours[key].equal(theirs[key]) for key in ours)


def test_the_newest_checkpoints_are_kept_and_all_verify(recipe, tmp_path):
    train("digits", dataclasses.replace(recipe, steps=11), tmp_path / "run", progress=False)
    kept = checkpoints(tmp_path / "run")
    assert [checkpoint_step(path) for path in kept] == [8, 10, 11]
    assert [broken_file(path) for path in kept] == [None] * 3


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(recipe, tmp_path, caplog):
    whole = train(
        "digits", dataclasses.replace(recipe, steps=9), tmp_path / "whole", progress=False
    )
    outcome = train("digits", recipe, tmp_path / "run", progress=False)
    damage(outcome.checkpoint)
    longer = dataclasses.replace(recipe, steps=9)
    again = train("digits", longer, tmp_path / "run", progress=False)
    damaged = outcome.checkpoint / "model" / "model.safetensors"
    assert caplog.messages == [
        f"{damaged} is missing or damaged: using {outcome.checkpoint.with_name('step-00000004')}"
    ]
    assert again.steps_before == 4
    assert_same(whole.checkpoint, again.checkpoint)
    assert losses(tmp_path / "whole") == losses(tmp_path / "run")


def test_a_run_whose_checkpoints_are_all_damaged_does_not_start_over(recipe, tmp_path):
    train("digits", recipe, tmp_path / "run", progress=False)
    for checkpoint in checkpoints(tmp_path / "run"):
        damage(checkpoint)
    with pytest.raises(pf.UserError, match=r"step-00000006/model/model\.safetensors is missing or"):
        train("digits", recipe, tmp_path / "run", progress=False)
    assert len(checkpoints(tmp_path / "run")) == 3


def damage(checkpoint):
    weights = checkpoint / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)


def test_a_loss_that_is_not_finite_stops_with_its_step_and_keeps_the_checkpoint(recipe, tmp_path):
    wild = dataclasses.replace(
        recipe,
        checkpoint_every=1,
        steps=50,
        optimizer=dataclasses.replace(recipe.optimizer, lr=1e18, warmup_steps=0),
    )
    with pytest.raises(pf.UserError, match=r"loss .* at step \d+, .* are intact"):
        train("digits", wild, tmp_path / "run", progress=False)
    last = checkpoints(tmp_path / "run")[-1]
    assert broken_file(last) is None
    assert all(tensor.isfinite().all() for tensor in tensors(last).values())


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """Whatever started the tests: a shell's background jobs ignore it, and so would a run."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@dataclass(frozen=True)
class Interrupting:
    """The digits, with Ctrl-C pressed, or another signal, while the batch of a step is read."""

    at_step: int
    times: int = 1
    number: signal.Signals = signal.SIGINT

    def open(self):
        digits, at_step, times, number = Digits().open(), self.at_step, self.times, self.number

        class Data(TensorData):
            def batch(self, spec, device="cpu") -> Batch:
                if spec.step == at_step:
                    for _ in range(times):
                        signal.raise_signal(number)
                return super().batch(spec, device)

        return Data(digits.images, digits.labels, digits.num_classes, digits.info)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_finishes_the_step_saves_and_says_so(recipe, tmp_path, number):
    handler = signal.getsignal(number)
    with pytest.raises(Interrupted, match="stopped after step 4, saved"):
        train(
            "digits",
            dataclasses.replace(recipe, data=Interrupting(3, number=number), checkpoint_every=100),
            tmp_path / "run",
            progress=False,
        )
    assert [checkpoint_step(path) for path in checkpoints(tmp_path / "run")] == [4]
    assert broken_file(checkpoints(tmp_path / "run")[0]) is None
    assert signal.getsignal(number) is handler


def test_a_second_ctrl_c_breaks_off_and_says_what_was_saved(recipe, tmp_path):
    with pytest.raises(Interrupted, match="stopped in step 6, saved up to step 4"):
        train(
            "digits",
            dataclasses.replace(recipe, data=Interrupting(at_step=5, times=2)),
            tmp_path / "run",
            progress=False,
        )
    assert [checkpoint_step(path) for path in checkpoints(tmp_path / "run")] == [2, 4]


def test_another_recipe_does_not_resume_a_run(recipe, tmp_path):
    train("digits", recipe, tmp_path / "run", progress=False)
    slower = dataclasses.replace(recipe.optimizer, lr=1e-3)
    with pytest.raises(pf.UserError, match=r"trained with optimizer\.lr=0\.01, now it is 0\.001"):
        train(
            "digits",
            dataclasses.replace(recipe, optimizer=slower),
            tmp_path / "run",
            progress=False,
        )
    with pytest.raises(pf.UserError, match="holds a run of 'digits', not of 'other'"):
        train("other", recipe, tmp_path / "run", progress=False)


def test_a_run_whose_learning_rate_falls_keeps_its_length_and_resumes_bitwise(recipe, tmp_path):
    falling = dataclasses.replace(recipe.optimizer, decay_share=0.5)
    recipe = dataclasses.replace(recipe, optimizer=falling)
    whole = train("digits", recipe, tmp_path / "whole", progress=False)
    stopped = dataclasses.replace(recipe, data=Interrupting(at_step=3))
    with pytest.raises(Interrupted):
        train("digits", stopped, tmp_path / "parts", progress=False)
    parts = train("digits", stopped, tmp_path / "parts", progress=False)
    assert parts.steps_before == 4
    assert_same(whole.checkpoint, parts.checkpoint)
    with pytest.raises(pf.UserError, match="was trained with steps=6, now it is 9"):
        train("digits", dataclasses.replace(recipe, steps=9), tmp_path / "whole", progress=False)


def test_a_run_that_never_got_to_a_checkpoint_may_be_changed(recipe, tmp_path):
    with pytest.raises(Interrupted):
        never = dataclasses.replace(recipe, data=Interrupting(at_step=0, times=2))
        train("digits", never, tmp_path / "run", progress=False)
    slower = dataclasses.replace(recipe.optimizer, lr=1e-3)
    changed = dataclasses.replace(recipe, optimizer=slower)
    assert train("digits", changed, tmp_path / "run", progress=False).steps_before == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["recipe"]["optimizer"]["lr"] == 1e-3


def test_a_folder_with_other_things_is_left_alone(recipe, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(pf.UserError, match="not empty and holds no run"):
        train("digits", recipe, tmp_path, progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_finished_run_says_so_and_does_nothing(recipe, tmp_path):
    started = time.perf_counter()
    first = train("digits", recipe, tmp_path / "run", progress=False)
    assert 0 < first.seconds < time.perf_counter() - started
    stamp = first.checkpoint.stat().st_mtime_ns
    (first.checkpoint.parent / ".partial-step-00000006-0").mkdir()  # killed just after
    again = train("digits", recipe, tmp_path / "run", progress=False)
    assert (again.steps_before, again.steps, again.seconds) == (6, 6, 0)
    assert not list(first.checkpoint.parent.glob(".*"))
    assert first.checkpoint.stat().st_mtime_ns == stamp


def test_patches_that_do_not_tile_the_image_stop_before_anything_is_written(recipe, tmp_path):
    network = dataclasses.replace(recipe.network, patch_size=3)
    with pytest.raises(pf.UserError, match="8x8 is not divisible by patch size 3"):
        train(
            "digits",
            dataclasses.replace(recipe, network=network),
            tmp_path / "run",
            progress=False,
        )
    assert not (tmp_path / "run").exists()
