"""The pipeline of diffusers makes this library's images, and keeps to diffusers' ways."""

import diffusers
import numpy as np
import pytest
import torch

import patch_forcing as pf
import patch_forcing.diffusers as ours
from patch_forcing.codecs.autoencoders import load_autoencoder
from patch_forcing.models.config import Recommended, SamplingInfo
from tests.support.autoencoders import small_flux2, small_kl, small_taef2, small_tiny
from tests.support.exact import tiny_dit

Pipe = ours.PatchForcingPipeline


def bytes_of(images) -> bytes:
    return b"".join(np.asarray(image).tobytes() for image in images)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sampler": "dual-loop", "num_inference_steps": 2},
        {"guidance_scale": 2.0, "guidance_interval": (0.1, 0.8), "nfe": 8},
        {"time_grid": "shifted:shift=2", "num_inference_steps": 3, "batch_size": 2},
    ],
    ids=str,
)
def test_images_are_those_of_this_librarys_own_pipeline_bit_for_bit(folder, pipe, options):
    own = {("num_steps" if k == "num_inference_steps" else k): v for k, v in options.items()}
    wanted = pf.load(folder)(["cat", 3], range(5), **own)
    output = pipe(class_labels=["cat", 3], seeds=range(5), **options)
    assert bytes_of(output.images) == bytes_of(wanted.images)
    assert (output.seeds, output.nfe) == (wanted.seeds, wanted.nfe)


def test_a_bundled_model_goes_there_and_back_with_every_bit(tmp_path):
    pipe = Pipe.from_patch_forcing("digits")
    pipe.save_pretrained(tmp_path / "there")
    back = Pipe.from_pretrained(tmp_path / "there").to_patch_forcing()
    back.model.save(tmp_path / "back")
    own = pf.load("digits")
    again = pf.load(tmp_path / "back")
    assert again.model.description()._replace(weights={}) == own.model.description()._replace(
        weights={}
    )
    wanted = own.model.state_dict()
    weights = again.model.state_dict()
    assert weights.keys() == wanted.keys()
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    assert again.hash == own.hash
    assert bytes_of(back(3, [5], nfe=4).images) == bytes_of(own(3, [5], nfe=4).images)


def test_what_the_model_recommends_is_used_where_nothing_is_chosen(tmp_path):
    model = tiny_dit()
    model.sampling_info = SamplingInfo(recommended=Recommended("3,1", nfe=5))
    model.save(tmp_path / "model")
    Pipe.from_patch_forcing(tmp_path / "model").save_pretrained(tmp_path / "saved")
    pipe = Pipe.from_pretrained(tmp_path / "saved")
    output = pipe(seeds=[0, 1])
    wanted = pf.load(tmp_path / "model")(seeds=[0, 1])
    assert output.nfe == wanted.nfe == 5
    assert bytes_of(output.images) == bytes_of(wanted.images)
    assert len(pipe().images) == 2


def test_generators_give_a_seed_for_each_image_and_move_on(pipe):
    def made(**options):
        return pipe(class_labels=[1, 2], num_inference_steps=1, **options)

    generator = torch.Generator().manual_seed(3)
    first, second = made(generator=generator), made(generator=generator)
    assert len({*first.seeds, *second.seeds}) == 4
    again = made(generator=torch.Generator().manual_seed(3))
    assert again.seeds == first.seeds
    assert bytes_of(again.images) == bytes_of(first.images)
    assert bytes_of(made(seeds=first.seeds).images) == bytes_of(first.images)
    several = [torch.Generator().manual_seed(number) for number in (3, 4)]
    assert made(generator=several).seeds[0] == first.seeds[0]
    torch.manual_seed(5)
    one = made().seeds
    torch.manual_seed(5)
    assert made().seeds == one != made().seeds


def test_images_of_a_prompt_lie_side_by_side(folder, pipe):
    output = pipe(class_labels=["dog", "owl"], num_images_per_prompt=2, seeds=[4, 5, 6, 7], nfe=2)
    wanted = pf.load(folder)(["dog", "dog", "owl", "owl"], [4, 5, 6, 7], nfe=2)
    assert bytes_of(output.images) == bytes_of(wanted.images)


def test_every_form_of_output_holds_the_same_images(pipe):
    options = {"class_labels": [1, 2], "seeds": [0, 1], "num_inference_steps": 2}
    pixels = np.stack([np.asarray(image) for image in pipe(**options).images])
    arrays = pipe(**options, output_type="np").images
    assert (arrays.shape, arrays.dtype) == ((2, 8, 8, 3), np.float32)
    assert ((arrays * 255).round() == pixels).all()
    tensors = pipe(**options, output_type="pt").images
    assert torch.equal(tensors, torch.from_numpy(arrays).permute(0, 3, 1, 2))
    latents = pipe(**options, output_type="latent").images
    own = pipe.to_patch_forcing()
    assert (own.decode(latents).permute(0, 2, 3, 1).numpy() == pixels).all()
    (images,) = pipe(**options, return_dict=False)
    assert bytes_of(images) == pixels.tobytes()


def test_a_callback_sees_every_evaluation_and_can_stop_but_not_change(pipe):
    seen = []

    def look(who, step, time, tensors):
        assert who is pipe
        seen.append((step, round(float(time), 6), *(t.shape for t in tensors.values())))
        return tensors

    names = ["prediction", "difficulty", "seeds"]
    options = {"class_labels": 1, "seeds": [0], "callback_on_step_end": look}
    options |= {"callback_on_step_end_tensor_inputs": names, "sampler": "euler"}
    pipe(**options, num_inference_steps=4)
    shapes = ((1, 3, 8, 8), (1, 16), (1,))
    assert seen == [(step, step / 4, *shapes) for step in range(4)]

    def change(*given):
        return {"prediction": given[-1]["prediction"] * 2}

    with pytest.raises(pf.UserError, match="returned another 'prediction'"):
        pipe(**options | {"callback_on_step_end": change})

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipe(**options | {"callback_on_step_end": stop})


def test_the_bar_counts_steps(pipe, capsys):
    pipe.set_progress_bar_config(disable=False)
    pipe(class_labels=1, seeds=[0, 1, 2], num_inference_steps=3, batch_size=2)
    pipe.set_progress_bar_config(disable=True)
    assert "6/6" in capsys.readouterr().err


def test_a_pipeline_computes_in_the_type_it_is_cast_to(folder, saved):
    wanted = pf.load(folder, precision="bf16")(2, [0], nfe=4)
    cast = Pipe.from_pretrained(saved).to(torch.bfloat16)
    loaded = Pipe.from_pretrained(saved, torch_dtype=torch.bfloat16)
    for other in (cast, loaded):
        assert other.dtype == torch.bfloat16
        assert bytes_of(other(class_labels=2, seeds=[0], nfe=4).images) == bytes_of(wanted.images)


def test_a_model_of_texts_takes_prompts(tmp_path):
    tiny_dit(condition="bytes:length=12,refiner=1", num_classes=0).save(tmp_path / "texts")
    pipe = Pipe.from_patch_forcing(tmp_path / "texts")
    pipe.save_pretrained(tmp_path / "there")
    there = Pipe.from_pretrained(tmp_path / "there")
    wanted = pf.load(tmp_path / "texts")(prompt=["a cat", "a dog"], nfe=2)
    output = there(["a cat", "a dog"], seeds=[0, 1], nfe=2)
    assert bytes_of(output.images) == bytes_of(wanted.images)
    with pytest.raises(pf.UserError, match="class_labels 3: this model takes prompt"):
        there(class_labels=3)


@pytest.fixture(scope="module", params=[small_kl, small_flux2])
def latent(request, tmp_path_factory):
    """A model of an autoencoder's latents, and that autoencoder."""
    root = tmp_path_factory.mktemp("latent")
    space = load_autoencoder(request.param(root / "vae")).space
    model = tiny_dit(4, in_channels=space.channels)
    model.data_info = pf.DataInfo.of_latents(space)
    model.save(root / "model")
    return root


def test_latents_are_decoded_by_the_pipelines_own_autoencoder(latent, tmp_path):
    Pipe.from_patch_forcing(latent / "model").save_pretrained(tmp_path)
    pipe = Pipe.from_pretrained(tmp_path)
    own = pf.load(latent / "model")
    wanted = own([1, 2], [0, 1], nfe=2)
    options = {"class_labels": [1, 2], "seeds": [0, 1], "nfe": 2}
    assert bytes_of(pipe(**options).images) == bytes_of(wanted.images)
    latents = pipe(**options, output_type="latent").images
    assert bytes_of(own.decode(latents).permute(0, 2, 3, 1)) == bytes_of(wanted.images)
    pipe.to(torch.bfloat16)
    assert pipe(**options, output_type="np").images.shape == (2, 32, 32, 3)


def test_an_autoencoder_of_other_latents_is_refused_and_a_preview_taken(tmp_path):
    space = load_autoencoder(small_kl(tmp_path / "vae")).space
    model = tiny_dit(4, in_channels=4)
    model.data_info = pf.DataInfo.of_latents(space)
    network = ours.PatchForcingTransformer2DModel.of(model)
    other = diffusers.AutoencoderKL.from_pretrained(
        small_kl(tmp_path / "other", scaling_factor=0.5), low_cpu_mem_usage=False
    )
    with pytest.raises(pf.UserError, match="vae AutoencoderKL is not the autoencoder"):
        Pipe(network, other)
    with pytest.raises(pf.UserError, match="vae of class 'UNet2DModel'"):
        Pipe(network, diffusers.UNet2DModel(block_out_channels=(32, 32), **BLOCKS))
    pixels = ours.PatchForcingTransformer2DModel.of(tiny_dit())
    with pytest.raises(pf.UserError, match="this model makes pixels"):
        Pipe(pixels, other)
    tiny = diffusers.AutoencoderTiny.from_pretrained(
        small_tiny(tmp_path / "tiny"), low_cpu_mem_usage=False
    )
    assert Pipe(network, tiny)(class_labels=1, seeds=[0], nfe=2).images[0].size == (32, 32)
    with pytest.raises(pf.UserError, match="the pipeline has no vae"):
        Pipe(network)(class_labels=1)


BLOCKS = {
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
}


def test_an_autoencoder_that_is_no_model_of_diffusers_is_named(tmp_path):
    model = tiny_dit(4, in_channels=4)
    model.data_info = pf.DataInfo.of_latents(
        load_autoencoder(small_taef2(tmp_path / "t.safetensors")).space
    )
    model.save(tmp_path / "model")
    with pytest.raises(pf.UserError, match="decoded by TAEF2, which diffusers does not have"):
        Pipe.from_patch_forcing(tmp_path / "model")


def test_the_network_is_called_as_models_of_diffusers_are(pipe):
    dit = pipe.transformer.dit
    x, t, labels = torch.randn(2, 3, 8, 8), torch.rand(2, 16), torch.tensor([1, 5])
    output = pipe.transformer(x, t, class_labels=labels)
    wanted = dit(x, t, labels)
    assert torch.equal(output.sample, wanted.velocity)
    assert torch.equal(output.logvar, wanted.logvar)
    velocity, _ = pipe.transformer(x, t, labels, return_dict=False)
    assert torch.equal(velocity, wanted.velocity)
    assert pipe.transformer.config.hidden_size == dit.config.hidden_size


@pytest.mark.parametrize(
    "options, line",
    [
        ({"sampler": "eulr"}, "unknown sampler 'eulr': did you mean 'euler'?"),
        ({"num_steps": 3}, "unknown option 'num_steps': known: "),
        ({"negative_prompt": "x"}, "unknown option 'negative_prompt'"),
        ({"output_type": "jpg"}, "unknown output_type 'jpg'"),
        ({"prompt": "a cat"}, "prompt 'a cat': this model takes class_labels: give those"),
        ({"class_labels": "cta"}, "unknown class 'cta': did you mean 'cat'?"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt=0 is out of range"),
        ({"num_images_per_prompt": 2, "seeds": [1]}, "1 seeds for 2 images: give one for each"),
        ({"seeds": [0], "generator": torch.Generator()}, "generator and seeds exclude each other"),
        ({"generator": [torch.Generator()] * 3}, "3 generators for 1 images"),
        ({"height": 8}, "height=8 and width=None: give both, or neither"),
        ({"height": 16, "width": 16}, "has fixed positions, and makes 8x8"),
        ({"batch_size": 0}, "batch_size=0 is out of range"),
        ({"callback_on_step_end_tensor_inputs": ["latents"]}, "unknown tensor in callback"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_wrong_option_is_one_line(pipe, options, line):
    with pytest.raises(pf.UserError) as error:
        pipe(**{"class_labels": 1} | options)
    assert line in str(error.value) and "\n" not in str(error.value)
