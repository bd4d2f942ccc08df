"""Damaged tars: what is lost is named, and all that is sound is found."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patch_forcing.data.tar_index import index_tar
from tests.support.image_files import encoded, noise, samples, shard

PNG = encoded(noise())
TEN = samples(10, classes=2)


def offsets(file):
    with tarfile.open(file) as tar:
        return {member.name: member.offset for member in tar}


def test_a_damaged_header_costs_one_member_and_is_told(tmp_path):
    file = shard(tmp_path / "x.tar", TEN)
    place = offsets(file)["0004.png"]
    data = bytearray(file.read_bytes())
    data[place + 20] ^= 1
    result = index_tar(io.BytesIO(data))
    assert len(result) == 11
    assert [s.annotation.fault for s in result if not s.name] == [f"damaged at byte {place}"]
    assert [s.name for s in result if s.annotation.fault and s.name] == [
        "0004.*"
    ]  # its label is left
    assert [s.name for s in result if not s.annotation.fault] == [
        f"{i:04d}.png" for i in range(10) if i != 4
    ]


@pytest.mark.parametrize("name", ["0004.cls", "0004.png"])
@pytest.mark.parametrize("lost", [1, 3, 20])
def test_blocks_overwritten_cost_what_lay_there_and_are_told(tmp_path, name, lost):
    file = shard(tmp_path / "x.tar", TEN)
    place = offsets(file)[name]
    data = bytearray(file.read_bytes())
    data[place : place + 512 * lost] = b"\xa5" * 512 * lost
    result = index_tar(io.BytesIO(data))
    assert any(s.annotation.fault == f"damaged at byte {place}" for s in result)
    assert {s.name for s in result} >= {"0000.png", "0003.png", "0009.png"}
    assert not any(s.annotation.fault for s in result if s.name in ("0003.png", "0009.png"))


@given(st.integers(0, 30_000))
def test_a_tar_cut_short_anywhere_says_so_and_keeps_what_is_before(tmp_path_factory, length):
    file = tmp_path_factory.getbasetemp() / "cut.tar"
    if not file.exists():
        shard(file, TEN)
    whole = file.read_bytes()
    places = offsets(file)
    end = max(places.values()) + 1024  # of the last member, .cls of one block
    data = whole[: min(length, end)]
    result = index_tar(io.BytesIO(data))
    faults = [s.annotation.fault for s in result if s.annotation.fault and not s.name]
    assert len(faults) == 1
    assert faults[0].startswith("cut short" if len(data) >= 512 else ("no tar", "empty"))
    before = {name for name, place in places.items() if place + 512 <= len(data)}
    assert {s.name for s in result if s.name and not s.annotation.fault} == {
        name for name in before if name.endswith(".png")
    }


def faults(data):
    return [s.annotation.fault for s in index_tar(io.BytesIO(data)) if not s.name]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("where", ["at a header", "in an image", "in a label"])
def test_zeros_to_the_end_are_damage_and_what_is_before_is_kept(tmp_path, where, share):
    file = shard(tmp_path / "x.tar", samples(60, classes=3))
    whole, number = file.read_bytes(), int(60 * share)
    name = f"{number:04d}.{'cls' if where == 'in a label' else 'png'}"
    first = offsets(file)[name] + {"at a header": 0, "in an image": 900, "in a label": 512}[where]
    first = len(whole[:first].rstrip(b"\0")) if where == "in an image" else first
    data = whole[:first] + bytes(len(whole) - first)
    assert faults(data) == [f"zeros from byte {first} to its end"]
    sound = [s.name for s in index_tar(io.BytesIO(data)) if s.name and not s.annotation.fault]
    assert sound[:number] == [f"{i:04d}.png" for i in range(number)]
    assert len(sound) <= number + 1


@pytest.mark.parametrize("members", [0, 1, 2, 3])
def test_a_few_zeros_are_damage_if_they_begin_in_a_member(tmp_path, members):
    file = shard(tmp_path / "x.tar", TEN)
    first = offsets(file)[list(TEN)[-1 - members]] + 512
    data = file.read_bytes()[:first]
    assert faults(data + bytes(9000)) == [f"zeros from byte {first} to its end"]


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 17, 20, 25, 38])
@pytest.mark.parametrize("members", [TEN, samples(3), {"b.png": PNG, "c.npy": bytes(4096)}])
def test_a_tar_with_zeros_behind_its_members_is_sound(tmp_path, members, blocks):
    file = shard(tmp_path / "x.tar", members)
    assert not faults(file.read_bytes())
    with tarfile.open(file) as tar:
        last = tar.getmembers()[-1]
    end = last.offset_data + -(-last.size // 512) * 512
    assert not faults(file.read_bytes()[:end] + bytes(512 * (2 + blocks)))


@pytest.mark.parametrize("record", [2**16, 2**18, 2**20])
def test_a_tar_in_large_records_is_sound(tmp_path, record):
    data = shard(tmp_path / "x.tar", TEN).read_bytes()
    assert not faults(data + bytes(-len(data) % record))


@pytest.mark.parametrize("lost", [3, 20, 60])
def test_zeros_between_members_are_damage(tmp_path, lost):
    file = shard(tmp_path / "x.tar", samples(40, classes=3))
    places = offsets(file)
    first = places["0010.png"]
    end = next(place for place in places.values() if place >= first + lost * 512)
    data = bytearray(file.read_bytes())
    data[first:end] = bytes(end - first)
    assert faults(data) == [f"zeros from byte {first} to byte {end}"]
    data[end - 512 : end] = b"x" * 512  # a hole that ends within a member
    assert faults(data) == [f"damaged at byte {first}"]


def test_zeros_after_the_announcement_of_a_member_are_damage(tmp_path):
    rows = [("a.png", PNG), (f"{'long' * 40}.png", PNG)]
    file = shard(tmp_path / "x.tar", rows, tarfile.GNU_FORMAT)
    first = offsets(file)[rows[1][0]] + 1024  # behind the long name
    data = file.read_bytes()[:first] + bytes(10240)
    assert faults(data) == [f"zeros from byte {first} to its end"]


@pytest.mark.parametrize("size", [20_992, 81_920])
def test_zeros_alone_are_no_sample(size):
    assert faults(bytes(size)) == ["no sample in it: zeros from byte 0 to its end"]


def test_tars_one_after_another_and_a_comment_are_read_through(tmp_path):
    one = shard(tmp_path / "1.tar", samples(3)).read_bytes()
    other = io.BytesIO()
    with tarfile.open(
        fileobj=other, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x"}
    ) as tar:
        header = tarfile.TarInfo("z.png")
        header.size = len(PNG)
        tar.addfile(header, io.BytesIO(PNG))
    result = index_tar(io.BytesIO(one + other.getvalue()))
    assert [s.name for s in result] == ["0000.png", "0001.png", "0002.png", "z.png"]
    assert not any(s.annotation.fault for s in result)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"text\n" * 500, "no tar file"),
        (b"\x1f\x8b\x08\0" + bytes(999), "compressed, so that no sample can be found in it"),
        (b"BZh9" + b"x" * 999, "compressed"),
        (b"\xfd7zXZ\0" + b"x" * 999, "compressed"),
        (b"PK\x03\x04" + b"x" * 9, "no tar file"),
    ],
)
def test_what_is_no_tar_is_one_bad_sample(data, reason):
    (result,) = index_tar(io.BytesIO(data))
    assert (result.name, result.size) == ("", 0)
    assert result.annotation.fault.startswith(reason)


def with_size(size: bytes, kind: bytes = b"0") -> bytes:
    """A header with that size field and a right checksum."""
    header = bytearray(tarfile.TarInfo("x.png").tobuf(tarfile.USTAR_FORMAT))
    header[124:136], header[156:157], header[148:156] = size, kind, b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize("kind", [b"0", b"L", b"x", b"g"])
@pytest.mark.parametrize(
    "size", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"77777777777\0", b"\xff" * 11 + b"\0"]
)
def test_a_size_that_lies_ends_nowhere(kind, size):
    data = with_size(size, kind) + bytes(512) + shard_bytes()
    result = index_tar(io.BytesIO(data))
    assert 1 <= len(result) <= 4
    assert all(s.start >= 0 and 0 <= s.size < 2**60 for s in result)
    assert any(s.annotation.fault for s in result)


def shard_bytes():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        header = tarfile.TarInfo("y.png")
        header.size = len(PNG)
        tar.addfile(header, io.BytesIO(PNG))
    return stream.getvalue()


@given(st.binary(max_size=700), st.floats(0, 1), st.integers(0, 2**31))
def test_whatever_a_tar_holds_it_is_looked_through_to_its_end(junk, place, seed):
    whole = shard_bytes() * 2
    start = int(place * len(whole))
    data = whole[:start] + junk + whole[start + seed % (len(junk) + 1) :]
    result = index_tar(io.BytesIO(data))
    assert len(result) <= 8
    assert all(s.name or s.annotation.fault for s in result)
