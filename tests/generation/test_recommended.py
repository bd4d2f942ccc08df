"""What a model recommends is used where nobody chooses, and never in part."""

import json
from dataclasses import replace

import pytest

import patch_forcing as pf
from patch_forcing.generation.conditions import NoConditions
from patch_forcing.generation.recommended import choose
from patch_forcing.generation.request import SampleRequest
from patch_forcing.models.config import DataInfo, Recommended, SamplingInfo
from patch_forcing.sampling.names import DEFAULT_SAMPLER
from tests.support.exact import tiny_dit

ADVICE = Recommended("owl,cat", "euler", 6, 2.0, (0.1, 0.8))
GUIDED = {"guidance_scale": 2.0, "guidance_interval": (0.1, 0.8)}


@pytest.fixture
def pipe(tmp_path):
    model = tiny_dit(num_classes=3)
    model.data_info = DataInfo(class_names=("cat", "dog", "owl"))
    model.sampling_info = SamplingInfo((0.0, 0.4, 1.0), ADVICE)
    model.save(tmp_path / "model")
    return pf.load(tmp_path / "model")


def chosen(pipe, options=None, **conditions):
    return pipe.choose(conditions, options or {})


def test_it_is_kept_with_the_model(pipe):
    assert pipe.model.sampling_info == SamplingInfo((0.0, 0.4, 1.0), ADVICE)
    assert pipe.class_names == ("cat", "dog", "owl")


def test_a_model_without_any_is_stored_as_before(tmp_path):
    tiny_dit().save(tmp_path / "model")
    assert "sampling" not in json.loads((tmp_path / "model" / "config.json").read_text())


def test_what_a_later_release_recommends_besides_is_left_out():
    stored = {"recommended": {"nfe": 8, "guidance_interval": [0.2, 0.9], "colour": "red"}}
    advice = SamplingInfo.read(stored).recommended
    assert advice == Recommended(nfe=8, guidance_interval=(0.2, 0.9))


def test_where_nobody_chooses_it_is_used_and_said(pipe):
    conditions, request, words = chosen(pipe)
    assert conditions.labels == (2, 0)
    assert conditions.for_seeds([5, 6]).labels == (0, 2)  # of a seed, not of a place
    assert request == SampleRequest("euler", nfe=6, **GUIDED)
    assert words == "2 labels, sampler euler, nfe 6, guidance 2 at t 0.1 … 0.8"


@pytest.mark.parametrize(
    ("options", "request_"),
    [
        ({"num_steps": 3}, SampleRequest(num_steps=3, **GUIDED)),
        ({"sampler": "heun"}, SampleRequest("heun", **GUIDED)),
        ({"guidance_scale": 1.0}, SampleRequest("euler", nfe=6)),
        ({"guidance_scale": 3.0}, SampleRequest("euler", nfe=6, guidance_scale=3.0)),
        ({"nfe": 9, "guidance_scale": 1}, SampleRequest(nfe=9)),
    ],
)
def test_an_option_takes_its_whole_group_from_the_user(pipe, options, request_):
    assert chosen(pipe, options).request == request_


def test_a_kind_of_guidance_is_recommended_too(tmp_path):
    model = tiny_dit()
    advice = replace(ADVICE, conditions=None, guidance_kind="noisier")
    model.sampling_info = SamplingInfo(recommended=advice)
    model.save(tmp_path / "m")
    pipe = pf.load(tmp_path / "m")
    assert pipe.model.sampling_info.recommended == advice
    _, request, words = chosen(pipe)
    assert request == SampleRequest("euler", nfe=6, **GUIDED, guidance_kind="noisier")
    assert words == "sampler euler, nfe 6, guidance 2 (noisier) at t 0.1 … 0.8"
    assert chosen(pipe, {"guidance_scale": 3.0}).request.guidance_kind == "condition"
    assert chosen(pipe, labels="none").request == SampleRequest("euler", nfe=6)


def test_images_under_no_condition_are_not_guided(pipe):
    conditions, request, words = chosen(pipe, labels="none")
    assert conditions == NoConditions()
    assert request == SampleRequest("euler", nfe=6)
    assert words == "sampler euler, nfe 6"


def test_without_advice_each_class_is_shown_by_the_usual_sampler():
    conditions, request, words = choose(tiny_dit(num_classes=40), "m", {}, {})
    assert conditions.labels == tuple(i * 40 // 16 for i in range(16))
    assert (request.sampler, request.guidance_scale, words) == (DEFAULT_SAMPLER, 1.0, "")
    assert choose(tiny_dit(num_classes=3), "m", {}, {}).conditions.labels == (0, 1, 2)
    assert choose(tiny_dit(num_classes=0), "m", {}, {}).conditions == NoConditions(16)


def test_a_call_makes_what_is_recommended(pipe):
    result = pipe()
    assert (result.seeds, result.labels) == ([0, 1], [2, 0])
    assert (result.sampler, result.guidance_scale) == ("euler", 2.0)
    for labels in (["owl", "cat"], "owl,cat", [2, 0]):
        assert pipe(labels).pixels.equal(result.pixels)
    assert pipe("owl", [0], sampler="euler", nfe=6, **GUIDED).pixels[0].equal(result.pixels[0])
    assert not pipe(guidance_scale=1).pixels.equal(result.pixels)


def test_advice_that_is_damaged_is_named_with_its_file(pipe):
    file = pipe.folder / "config.json"
    config = json.loads(file.read_text())
    config["sampling"]["recommended"]["nfe"] = -1
    file.write_text(json.dumps(config))
    with pytest.raises(pf.UserError, match=r"config\.json: Recommended: nfe=-1 is out of range"):
        pf.load(pipe.folder)


def test_advice_that_does_not_fit_says_whose_it_is(pipe):
    pipe.model.sampling_info = SamplingInfo(recommended=replace(ADVICE, sampler="eulr"))
    with pytest.raises(pf.UserError, match=r"did you mean 'euler'.*recommends sampler eulr"):
        pipe()
