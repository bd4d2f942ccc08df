"""Images → latents, stopped, continued, shared among processes."""

import json
import shutil

import numpy as np
import pytest
import torch

import patch_forcing as pf
from patch_forcing.codecs.autoencoder import Pixels, Posterior
from patch_forcing.codecs.autoencoders import load_autoencoder
from patch_forcing.data.batch_spec import BatchSpec
from patch_forcing.data.images import read_image
from patch_forcing.data.latent_shards import INDEX, open_shard, read_index
from patch_forcing.data.sources import FolderSource, LatentsSource
from patch_forcing.io.ledger import shard_path
from patch_forcing.models.latent_space import LatentSpace
from patch_forcing.runs.encode import Encoding
from patch_forcing.runs.encode_options import EncodeOptions
from tests.support.autoencoders import small_kl
from tests.support.image_files import photos

OPTIONS = EncodeOptions(size=16, batch_size=3, shard_size=5)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "images"
    photos(folder, {"cat": 7, "owl": 5})
    (folder / "cat" / "003.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def kl(tmp_path_factory):
    return load_autoencoder(small_kl(tmp_path_factory.mktemp("kl")))


def encoding(images, autoencoder, out, options=OPTIONS):
    return Encoding(FolderSource(str(images)).open(), autoencoder, out, options)


@pytest.fixture(scope="module")
def encoded(images, kl, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "latents"
    done = encoding(images, kl, out).run(progress=False)
    assert done == (3, 3, 0, 11, 1, True)
    return out


def files(folder):
    """Name and content of all but notes of versions."""
    return {
        file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def test_latents_are_the_autoencoders_posterior_of_each_image_and_its_mirror(images, kl, encoded):
    layout = FolderSource(str(images)).open().layout
    for shard in range(3):
        arrays = open_shard(shard_path(encoded, shard))
        for row, number in enumerate(arrays.numbers):
            pixels = torch.from_numpy(read_image(layout.file(int(number)), 16, 3, "crop"))
            x = pixels[None].float() / 127.5 - 1
            for copy, image in ((arrays.latents, x), (arrays.mirrored, x.flip(-1))):
                moments = torch.cat(kl.encode(image), dim=1)[0]
                stored = torch.from_numpy(copy[row].astype(np.float32))
                torch.testing.assert_close(stored, moments, rtol=2**-10, atol=1e-5)
            assert arrays.labels[row] == layout.labels[number]


def test_statistics_are_those_of_what_a_network_sees(encoded):
    """Of the posterior's mixture: E[x], and E[x²] = E[mean²] + E[var], per channel."""
    index = read_index(encoded)
    assert (index.images, index.bad_samples, index.class_names) == (11, 1, ("cat", "owl"))
    shards = [open_shard(shard_path(encoded, shard)) for shard in range(3)]
    rows = np.concatenate([part for s in shards for part in (s.latents, s.mirrored)])
    mean, variance = np.split(rows.astype(np.float64), 2, axis=1)
    variance = np.exp(variance) * 0.18215**2
    mean = mean * 0.18215
    expected = mean.mean(axis=(0, 2, 3))
    square = (mean**2 + variance).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(index.statistics["mean"], expected, rtol=1e-3, atol=1e-4)
    std = np.sqrt(square - expected**2)
    np.testing.assert_allclose(index.statistics["std"], std, rtol=1e-3)
    (bad,) = map(json.loads, (encoded / "bad-samples.jsonl").read_text().splitlines())
    assert bad["path"].endswith("cat/003.png")


def test_processes_share_the_shards_and_the_last_one_writes_the_index(
    images, kl, encoded, tmp_path
):
    out = tmp_path / "shared"
    second = encoding(images, kl, out).run(1, 2, progress=False)
    assert (second.made, second.complete) == (1, False)
    with pytest.raises(pf.UserError, match="is not complete"):
        LatentsSource(str(out)).open()
    first = encoding(images, kl, out).run(0, 2, progress=False)
    assert (first.made, first.complete) == (2, True)
    assert files(out) == files(encoded)


def test_what_is_finished_is_kept_and_what_is_broken_made_again(images, kl, encoded, tmp_path):
    out = shutil.copytree(encoded, tmp_path / "copy")
    broken, gone, sound = (shard_path(out, shard) for shard in range(3))
    data = bytearray((broken / "latents.npy").read_bytes())
    data[-1] ^= 1
    (broken / "latents.npy").write_bytes(data)
    shutil.rmtree(gone)
    (out / "shards" / ".partial-shard-00001-dead").mkdir()
    before = (sound / "latents.npy").stat()
    done = encoding(images, kl, out).run(progress=False)
    assert (done.made, done.kept, done.images, done.complete) == (2, 1, 11, True)
    after = (sound / "latents.npy").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert files(out) == files(encoded)
    LatentsSource(str(out), verify=True).open()


def test_stopped_between_shards_it_goes_on(images, kl, encoded, tmp_path):
    out = tmp_path / "stopped"
    calls = []

    class Stops:
        space = kl.space

        def encode(self, images):
            calls.append(len(images))
            if len(calls) == 6:  # the probe, then two copies a batch, in the second shard
                raise KeyboardInterrupt
            return kl.encode(images)

        decode = kl.decode

    with pytest.raises(KeyboardInterrupt):
        encoding(images, Stops(), out).run(progress=False)
    assert not (out / INDEX).exists()
    done = encoding(images, kl, out).run(progress=False)
    assert (done.made, done.kept) == (2, 1)
    assert files(out) == files(encoded)


def test_without_mirrors_or_posterior_less_is_stored(images, tmp_path):
    options = EncodeOptions(size=16, flip=False, shard_size=100)
    done = encoding(images, Pixels(), tmp_path / "out", options).run(progress=False)
    assert done.complete
    index = read_index(tmp_path / "out")
    assert (index.logvar, index.mirrored, index.rows) == (False, False, (3, 16, 16))
    data = LatentsSource(str(tmp_path / "out"), flip=False).open()
    pictures = FolderSource(str(images), size=16, flip=False).open()
    seen, wanted = (
        {tuple(x.flatten().add(1).mul(127.5).round().tolist()) for x in batch.x_1}
        for batch in (data.batch(BatchSpec(0, 11, 0)), pictures.batch(BatchSpec(0, 12, 0)))
    )
    assert seen == wanted  # the bad one's place was taken by one of the others


def test_latents_that_are_not_finite_in_fp16_are_bad_samples(images, kl, tmp_path):
    class Explodes:
        space = LatentSpace("x", "X", "", 4, 8)
        decode = kl.decode

        def encode(self, images):
            mean, logvar = kl.encode(images)
            first = images[:, 0, 0, 0] > 0.5
            return Posterior(torch.where(first[:, None, None, None], 7e4, mean), logvar)

    done = encoding(images, Explodes(), tmp_path / "out").run(progress=False)
    assert 1 < done.bad_samples < 11
    assert done.images + done.bad_samples == 12
    lines = (tmp_path / "out" / "bad-samples.jsonl").read_text()
    assert lines.count("not finite") == done.bad_samples - 1
    assert np.isfinite(open_shard(shard_path(tmp_path / "out", 0)).latents).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 24}, "holds latents of size=16, now it is 24"),
        ({"flip": False}, "flip=True, now it is False"),
        ({"shard_size": 4}, "shard_size=5"),
        ({"precision": "bf16"}, "precision='fp32'"),
        ({"size": 20}, "no multiple of 8, of which .* such as 24"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"max_bad_share": -1.0}, "max_bad_share=-1"),
    ],
)
def test_another_way_of_encoding_does_not_go_on_there(images, kl, encoded, change, message):
    before = files(encoded)
    with pytest.raises(pf.UserError, match=message):
        options = EncodeOptions(**{**vars(OPTIONS), **change})
        encoding(images, kl, encoded, options).run(progress=False)
    assert files(encoded) == before


def test_another_autoencoder_or_other_images_do_not_either(images, kl, encoded, tmp_path):
    other = load_autoencoder(small_kl(tmp_path / "other", seed=1))
    with pytest.raises(pf.UserError, match=r"autoencoder.hash='\w+', now it is '\w+'"):
        encoding(images, other, encoded).run(progress=False)
    photos(tmp_path / "images", {"cat": 7, "owl": 6})
    with pytest.raises(pf.UserError, match="images=12, now it is 13"):
        encoding(tmp_path / "images", kl, encoded).run(progress=False)
    with pytest.raises(pf.UserError, match="is not empty and holds no latents"):
        encoding(images, kl, images).run(progress=False)


def test_too_many_bad_images_stop_it(kl, tmp_path):
    photos(tmp_path / "images", {"": 14})
    for file in sorted((tmp_path / "images").iterdir())[:12]:
        file.write_bytes(b"")
    with pytest.raises(pf.UserError, match=r"1\d of 1\d images are bad, .*empty file: raise"):
        encoding(tmp_path / "images", kl, tmp_path / "out").run(progress=False)


def test_shards_of_classes_hold_the_files_that_they_always_held(encoded):
    names = {file.name for file in shard_path(encoded, 0).iterdir()}
    assert names == {
        "latents.npy", "mirrored.npy", "labels.npy", "numbers.npy", "shard.json", "manifest.json",
    }  # fmt: skip
    index = json.loads((encoded / INDEX).read_text())
    assert (index["format_version"], "captions" in index) == (1, False)
