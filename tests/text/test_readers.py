"""Texts become conditions: the same in training and sampling, and the same from a store."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import patch_forcing as pf
from patch_forcing.models.condition_kinds import condition_kind
from patch_forcing.models.text_space import TextSpace
from patch_forcing.text.conditions import (
    ByteReader,
    EncodedReader,
    TextReader,
    cut_note,
    open_reader,
    reader_of,
)
from patch_forcing.text.normal import first_sentence, lines, normal_text, read_prompts
from patch_forcing.text.store import EmbeddingStore
from tests.support.exact import tiny_dit
from tests.support.text_encoders import small_vectors, write_encoder

WELL_FORMED = st.text(st.characters(exclude_categories=["Cs"]))


@given(WELL_FORMED)
def test_normal_texts_are_one_line_and_stay_as_they_are(text):
    normal = normal_text(text)
    assert normal_text(normal) == normal
    assert len(normal.splitlines()) <= 1
    assert normal == normal.strip()


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  a\tcat\r\non  a mat\x00 ", "a cat on a mat"),
        ("\ufeffcafe\u0301", "caf\u00e9"),
        ("שלום \u200f(עולם)", "שלום \u200f(עולם)"),
        ("👩\u200d👩\u200d👧 and ❤\ufe0f", "👩\u200d👩\u200d👧 and ❤\ufe0f"),
    ],
)
def test_texts_of_all_scripts_are_kept(text, normal):
    assert normal_text(text) == normal


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("A cat. On a mat.", "A cat."),
        ("1.5 cats", "1.5 cats"),
        ("", ""),
        ("猫。犬。", "猫。"),
        ("Why? So!", "Why?"),
    ],
)
def test_the_first_sentence(text, sentence):
    assert first_sentence(text) == sentence


def test_half_a_character_is_refused():
    with pytest.raises(pf.UserError, match="half a character"):
        normal_text("a \ud83d cat")


@given(st.lists(WELL_FORMED, max_size=3), st.integers(1, 12))
def test_bytes_are_what_was_written_as_far_as_it_fits(texts, length):
    reader = ByteReader(length)
    condition, cut = reader(texts)
    assert condition.shape == (len(texts), length)
    for row, text, rest in zip(condition, texts, cut, strict=True):
        data = bytes(byte - 1 for byte in row.tolist() if byte)
        assert data.decode() + rest == normal_text(text)
        assert rest == "" or len(data) > length - 4


def reader_in(folder: Path | None, seed: int = 0, length: int = 4) -> EncodedReader:
    vectors = small_vectors(seed)
    store = None if folder is None else EmbeddingStore(folder, vectors)
    return EncodedReader(vectors, length, TextSpace("small", vectors.name), store)


def test_embeddings_are_padded_with_nan_and_the_same_from_a_store(tmp_path):
    texts = ["a red cat", "", "two dog on a blue mat", "a red cat"]
    plain = reader_in(None)
    assert isinstance(plain, TextReader)
    condition, cut = plain(texts)
    assert condition.dtype == torch.float16
    tiny_dit(num_classes=0, condition=plain.kind).check_condition(condition, 4)
    assert (~condition[:, :, 0].isnan()).sum(1).tolist() == [3, 0, 4, 3]
    assert cut == ("", "", "blue mat", "")
    first = reader_in(tmp_path / "store")
    assert first(texts).condition.nan_to_num().equal(condition.nan_to_num())
    first.store.flush()
    again = reader_in(tmp_path / "store")
    assert len(again.store) == 3
    again.encoder.encode = None  # not needed any more
    assert again(texts).condition.nan_to_num().equal(condition.nan_to_num())
    assert again.store.get("a red cat", 5) is None


def test_a_store_of_another_encoder_or_damaged_is_refused(tmp_path):
    first = reader_in(tmp_path / "store")
    first(["a cat"])
    first.store.flush()
    with pytest.raises(pf.UserError, match=r"holds embeddings of small .*, not of small"):
        reader_in(tmp_path / "store", seed=1)
    (shard,) = (tmp_path / "store").glob("shard-*")
    shard.write_bytes(b"nothing")
    with pytest.raises(pf.UserError, match="is damaged"):
        reader_in(tmp_path / "store")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").touch()
    with pytest.raises(pf.UserError, match="holds other files"):
        reader_in(tmp_path / "other")


def test_a_model_reads_with_the_encoder_that_it_was_trained_with(tmp_path):
    folder = write_encoder(tmp_path / "t5", "t5")
    reader = open_reader(str(folder), 1000)
    assert condition_kind(reader.kind).length == 512
    small = open_reader(str(folder), 5)
    config = pf.PatchDiTConfig(8, num_classes=0, condition=small.kind)
    again = reader_of(config, small.space)
    condition = small(["a cat"]).condition.nan_to_num()
    assert again(["a cat"]).condition.nan_to_num().equal(condition)
    write_encoder(folder, "t5", seed=1)
    with pytest.raises(pf.UserError, match="but the model was trained with"):
        reader_of(config, small.space)
    with pytest.raises(pf.UserError, match="does not name its text encoder"):
        reader_of(config, None)


def test_what_is_cut_is_one_line():
    assert cut_note(["a"], [""], "3 bytes") == ""
    note = cut_note(["abcdef", "a", "xyzw"], ["def", "", "w"], "3 bytes")
    assert note == "'abcdef' and 1 more: longer than 3 bytes; not read: 'def'"


def test_files_of_prompts_are_read_however_lines_end(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_bytes("\ufeffa cat\r\n\r\nein Hündchen\rtwo\n".encode())
    assert read_prompts(file) == ["a cat", "ein Hündchen", "two"]
    assert lines("") == []
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(pf.UserError, match="no UTF-8"):
        read_prompts(file)
    file.write_text("\n \n")
    with pytest.raises(pf.UserError, match="holds no prompt"):
        read_prompts(file)
    with pytest.raises(pf.UserError, match="cannot be read"):
        read_prompts(tmp_path / "nothing")
