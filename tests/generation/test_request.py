"""How to sample: what is checked when it is written, what it is for a model, what is recorded."""

import inspect
import json
from dataclasses import FrozenInstanceError, fields, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.cli.sampling_options import SamplingOptions
from patch_forcing.generation.condition_kinds import choose_conditions
from patch_forcing.generation.gallery import sample_rows
from patch_forcing.generation.pipeline import Pipeline
from patch_forcing.generation.request import SampleRequest
from patch_forcing.generation.sample_shards import SampleTask
from tests.support.exact import tiny_dit

GUIDED = {"guidance_scale": 2.0, "sampler": "euler", "num_steps": 2}


@pytest.fixture(scope="module")
def weak(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weak") / "model"
    tiny_dit(seed=1).save(folder)
    return pf.load(folder)


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    tiny_dit().save(folder)
    return pf.load(folder)


@pytest.mark.parametrize("field", [field.name for field in fields(SampleRequest)])
def test_a_request_does_not_change(field):
    with pytest.raises(FrozenInstanceError):
        setattr(SampleRequest(), field, None)


@given(st.lists(st.floats(0.01, 0.99), unique=True))
def test_times_are_kept_as_they_are_whatever_holds_them(inner):
    times = [0.0, *sorted(inner), 1.0]
    request = SampleRequest(time_grid=times)
    assert request == SampleRequest(time_grid=torch.tensor(times, dtype=torch.float64))
    assert hash(request) == hash(SampleRequest(time_grid=tuple(times)))
    times.append(2.0)
    assert request.time_grid == tuple(times[:-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "eular"}, "did you mean 'euler'"),
        ({"sampler": "dual-loop:easy=1"}, "unknown option of sampler dual-loop 'easy'"),
        ({"num_steps": 0}, "steps=0 is out of range"),
        ({"num_steps": 2, "nfe": 9}, "steps and nfe exclude each other"),
        ({"nfe": 2, "time_grid": [0.0, 1.0]}, "times and a number of steps"),
        ({"time_grid": "unifrm"}, "did you mean 'uniform'"),
        ({"time_grid": [0.0, 0.7, 0.5, 1.0]}, "does not rise at step 1"),
        ({"guidance_scale": -1.0}, "guidance scale -1.0 is out of range"),
        ({"guidance_scale": 2.0, "guidance_interval": (0.8, 0.2)}, "guidance interval"),
        ({"guidance_scale": 2.0, "guidance_schedule": "square"}, "guidance schedule 'square'"),
        ({"guidance_interval": (0.2, 0.8)}, "guidance interval .* without guidance"),
        ({"guidance_schedule": "linear"}, "guidance schedule linear without guidance"),
        ({"guidance_kind": "noisier"}, "guidance kind noisier without guidance: give a scale"),
        ({"guidance_scale": 2.0, "guidance_kind": "noisy"}, "did you mean 'noisier'"),
        ({"guidance_scale": 2.0, "guidance_kind": "noisier:ratio=1"}, "ratio=1.0 is out of range"),
        ({"guidance_scale": 2.0, "guidance_kind": "noisier:scale=1"}, "unknown option of guidance"),
        (
            {"guidance_scale": 2.0, "guidance_kind": "condition:ratio=1"},
            "there are none, leave it out",
        ),
        (
            {"guidance_scale": 2.0, "guidance_kind": "noisier", "compat": "published"},
            "guidance kind noisier and compat exclude each other",
        ),
        ({"compat": "publishd"}, "unknown compat 'publishd': did you mean 'published'"),
        ({"compat": "published"}, "AdamsBashforthSampler is not of the paper"),
    ],
)
def test_mistakes_are_named_without_a_model(options, message):
    with pytest.raises(pf.UserError, match=message):
        SampleRequest(**options)
    request = SampleRequest()
    with pytest.raises(pf.UserError, match=message):
        replace(request, **options)


def test_a_weak_model_needs_guidance_and_knows_no_published_code(weak):
    with pytest.raises(pf.UserError, match=r"guidance weak model .* without guidance"):
        SampleRequest(autoguidance=weak)
    with pytest.raises(pf.UserError, match="compat published knows no autoguidance"):
        SampleRequest(**GUIDED, autoguidance=weak, compat="published")
    with pytest.raises(pf.UserError, match="noisier and autoguidance exclude each other"):
        SampleRequest(**GUIDED, autoguidance=weak, guidance_kind="noisier")


@pytest.mark.parametrize(
    ("sampler", "instead"),
    [
        ("adams-bashforth:reuse_guidance=true", "adams-bashforth:reuse_guidance=false"),
        ("multirate", "multirate:evaluate=all"),
        ("adaptive", "adaptive:evaluate=all"),
    ],
)
def test_what_carries_guidance_on_is_refused_what_is_drawn_anew(sampler, instead):
    guided = {"guidance_scale": 2.0, "num_steps": 3}
    name, _, option = instead.partition(":")
    message = rf"^{name} carries on .* give the sampler {option}$"
    with pytest.raises(pf.UserError, match=message):
        SampleRequest(sampler, **guided, guidance_kind="noisier").resolve(tiny_dit())
    SampleRequest(sampler, **guided).resolve(tiny_dit())
    SampleRequest(instead, **guided, guidance_kind="noisier").resolve(tiny_dit())


def test_guidance_that_is_drawn_does_not_depend_on_the_batch_size_and_is_said(pipe):
    how = {**GUIDED, "guidance_kind": "noisier:ratio=0.5"}
    made = [pipe([1, 2, 3], [7, 0, 4], batch_size=size, **how) for size in (1, 3)]
    assert (made[0].pixels.int() - made[1].pixels.int()).abs().max() <= 1
    assert made[0].title.endswith("guidance 2 (noisier:ratio=0.5)")
    assert made[0].nfe == 4
    assert sample_rows(made[0], pipe)[0]["guidance_kind"] == "noisier:ratio=0.5"
    usual = pipe([1, 2, 3], [7, 0, 4], **GUIDED)
    assert "guidance_kind" not in sample_rows(usual, pipe)[0]
    assert (made[0].pixels.int() - usual.pixels.int()).abs().max() > 1


@pytest.mark.parametrize("name", ["dual-loop", "look-ahead", "multirate"])
def test_a_sampler_that_needs_difficulty_is_refused_to_a_model_that_predicts_none(name):
    model = tiny_dit(predict_difficulty=False)
    message = rf"predicts no difficulty, which {name} orders .*: sample with .*heun.* or adaptive$"
    with pytest.raises(pf.UserError, match=message):
        SampleRequest(name, num_steps=8).resolve(model)
    SampleRequest("random-order", num_steps=8).resolve(model)


CHANGES = {
    "sampler": "heun",
    "num_steps": 3,
    "nfe": 8,
    "time_grid": "shifted:shift=2",
    "guidance_scale": 3.0,
    "guidance_interval": (0.1, 0.9),
    "guidance_schedule": "linear",
    "guidance_kind": "noisier:ratio=0.5",
    "autoguidance": None,  # the weak model of the fixture
    "compat": "published",
    "size": (8, 8),  # its own, which a record tells all the same
}


def test_every_option_is_recorded_for_images_and_in_plans_by_the_same_keys(pipe, weak):
    """A field of SampleRequest that the record forgets fails here, as does one without a case."""
    assert CHANGES.keys() == {field.name for field in fields(SampleRequest)}
    conditions = choose_conditions(pipe.condition_kind, {"labels": [3, 1]})

    def records(**options):
        request = SampleRequest(**{**GUIDED, **options})
        sampling = pipe.resolve(request)
        plan = SampleTask(pipe, sampling, conditions, [0, 1], 2).plan()
        row = sample_rows(pipe.sample(sampling, conditions, [0, 1]), pipe)[0]
        record = json.loads(json.dumps(sampling.record()))
        assert {key: json.loads(json.dumps(row[key])) for key in record} == record
        assert {key: plan[key] for key in record if key != "grid"} == {
            key: value for key, value in record.items() if key != "grid"
        }
        assert plan["grid"] == ",".join(map(repr, record["grid"]))
        return plan

    usual = records()
    for name, value in CHANGES.items():
        options = {name: weak if name == "autoguidance" else value}
        if name == "nfe":
            options["num_steps"] = None
        assert records(**options) != usual, name


def test_records_keep_their_keys_and_order(pipe):
    result = pipe([3], [7], sampler="euler", num_steps=2)
    (row,) = sample_rows(result, pipe)
    assert list(row) == [
        *("seed", "label", "sampler", "grid", "guidance", "guidance_interval"),
        *("guidance_schedule", "weak_model_hash", "compat", "nfe", "token_evaluations"),
        *("seconds", "precision", "model", "model_hash"),
    ]
    task = SampleTask(pipe, result.sampling, result.conditions, [7], 4)
    assert list(task.plan()) == [
        *("format_version", "model_hash", "precision", "autoencoder_hash", "seeds", "labels"),
        *("sampler", "grid", "guidance", "guidance_interval", "guidance_schedule"),
        *("weak_model_hash", "compat", "shard_size"),
    ]


def test_the_command_has_every_option_and_knows_which_were_given():
    names = [field.name for field in fields(SampleRequest)]
    assert [field.name for field in fields(SamplingOptions)] == names
    assert SamplingOptions().given() == {}
    assert SamplingOptions(guidance_scale=1.0).given() == {"guidance_scale": 1.0}


def test_a_call_takes_every_option_and_its_signature_lists_them(pipe):
    listed = inspect.signature(pipe).parameters
    for field in fields(SampleRequest):
        assert listed[field.name].default == field.default
        assert listed[field.name].kind is inspect.Parameter.KEYWORD_ONLY
    assert list(listed)[:3] == ["labels", "seeds", "sampler"]
    assert {"batch_size", "trace", "progress", "wrap_field", "callback"} <= listed.keys()
    assert "options" not in listed
    called = pipe([3], [0], **GUIDED)
    sampling = pipe.resolve(SampleRequest(**GUIDED))
    assert called.sampling == sampling
    conditions = pipe.condition_kind.choose([3])
    assert called.pixels.equal(pipe.sample(sampling, conditions, [0]).pixels)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("numsteps", "num_steps"), ("batchsize", "batch_size"), ("label", "labels")],
)
def test_an_unknown_keyword_is_named_with_the_nearest(pipe, name, nearest):
    with pytest.raises(pf.UserError, match=f"unknown option '{name}': did you mean '{nearest}'"):
        pipe([3], [0], **{name: 3})


def test_a_model_without_a_name_resolves_too():
    model = tiny_dit()
    sampling = SampleRequest(sampler=pf.samplers.EulerSampler(), nfe=3).resolve(model)
    assert (sampling.name, len(sampling.time_grid)) == ("EulerSampler()", 4)
    with pytest.raises(pf.UserError, match="this model has no fitted time grid"):
        SampleRequest(time_grid="fitted").resolve(model)


def test_a_weak_model_makes_the_same_images(pipe, tmp_path):
    other = Pipeline("other", tmp_path, tiny_dit(num_classes=4))
    with pytest.raises(pf.UserError, match=r"other has num_classes 4, .* has 5"):
        pipe.resolve(SampleRequest(**GUIDED, autoguidance=other))
