"""Files of `torch.save` are read without running anything in them."""

import math
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patch_forcing.core.errors import UserError
from patch_forcing.io.safe_pickle import Name, RefusedError, is_type, read_pickle, refused

MAX_PICKLE_BYTES = 16 * 2**20
"""Size of the pickle beside the numbers of the tensors. An XL/2 with its config takes 40 kB."""

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_UNTYPED = Name("torch.storage", "UntypedStorage")
"""Bytes whose tensors say themselves what their numbers are: one of the newer types."""
_NEWER = {
    name: getattr(torch, name)
    for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
}


def read_torch_file(file: Path) -> Any:
    """Returns what `torch.save` wrote: tensors, numbers and texts in dicts and lists.

    Raises UserError that names what is damaged, or what else the file holds. There is no other way
    to read it here. Whoever trusts a file can save its state dict as safetensors.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return _Archive(file, archive).read()
    except UserError:
        raise
    except RefusedError as what:
        raise UserError(
            f"{file} holds {_printable(what)}: only tensors, plain containers and OmegaConf's are "
            "read; save its state dict as .safetensors, on a machine that trusts it"
        ) from None
    except zipfile.BadZipFile:
        raise UserError(_not_a_zip(file)) from None
    except (  # whatever a damaged archive or pickle can trip over
        ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError,
        RecursionError, NotImplementedError, zipfile.LargeZipFile,
    ) as error:  # fmt: skip
        raise UserError(f"{file} is damaged ({_printable(error)}): copy it again") from None


def _printable(error: Exception) -> str:
    message = str(error).encode("ascii", "backslashreplace").decode()
    return " ".join(message.split())[:160] or type(error).__name__


def _not_a_zip(file: Path) -> str:
    with file.open("rb") as stream:
        start = stream.read(2)
    if start == b"PK":
        return f"{file} is truncated or damaged: copy it again"
    if start[:1] == b"\x80":
        return (
            f"{file} is a bare pickle, or of torch before 1.6: save its state dict as "
            ".safetensors, on a machine that trusts it"
        )
    return _no_torch_file(file)


def _no_torch_file(file: Path) -> str:
    return f"{file} is no file of torch.save: give a .pt, .pth, .ckpt or .safetensors file"


class _Archive:
    """A zip whose entries lie there as they are: data.pkl, and one for the numbers of tensors."""

    def __init__(self, file: Path, archive: zipfile.ZipFile):
        self._archive = archive
        self._entries = {entry.filename: entry for entry in archive.infolist()}
        if len(self._entries) != len(archive.infolist()):
            raise RefusedError("two entries of one name")
        for name, entry in self._entries.items():
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise RefusedError(f"a compressed or encrypted entry, {name[:60]!r}")
        claimed = sum(entry.file_size for entry in self._entries.values())
        if claimed > file.stat().st_size:
            raise RefusedError(f"entries of {claimed} bytes, more than the file has")
        roots = [name for name in self._entries if name.split("/")[1:] == ["data.pkl"]]
        if not roots:
            raise UserError(_no_torch_file(file))
        if len(roots) > 1:
            raise RefusedError("several data.pkl")
        self._root = roots[0].removesuffix("data.pkl")
        self._flat: dict[str, Tensor] = {}

    def read(self) -> Any:
        order = f"{self._root}byteorder"
        if order in self._entries and self._archive.read(order) != b"little":
            raise RefusedError("numbers whose highest byte comes first")
        program = f"{self._root}data.pkl"
        if self._entries[program].file_size > MAX_PICKLE_BYTES:
            raise RefusedError(f"a pickle of more than {MAX_PICKLE_BYTES >> 20} MiB")
        return read_pickle(self._archive.read(program), call=_call, persistent=self._numbers)

    def _numbers(self, identity: Any) -> Tensor:
        """The flat numbers that tensors are views of. They are read once."""
        kind, storage, key, _, count = identity
        known = isinstance(storage, Name) and (storage == _UNTYPED or storage.module == "torch")
        known = known and isinstance(key, str) and type(count) is int
        if kind != "storage" or not known:
            raise RefusedError("a tensor that is stored in an unusual way")
        if storage != _UNTYPED and storage.name not in _DTYPES:
            raise refused(storage)
        dtype = torch.uint8 if storage == _UNTYPED else _DTYPES[storage.name]
        if key not in self._flat:
            name = f"{self._root}data/{key}"
            if name not in self._entries:
                raise RefusedError(f"a tensor without its numbers, {name[:60]!r}")
            data = self._archive.read(name)
            if len(data) != count * dtype.itemsize:
                raise RefusedError(f"a tensor of {count} numbers in {len(data)} bytes")
            empty = torch.empty(0, dtype=dtype)
            self._flat[key] = torch.frombuffer(bytearray(data), dtype=dtype) if data else empty
        numbers = self._flat[key]
        if numbers.dtype != dtype or len(numbers) != count:
            raise RefusedError("numbers that two tensors read differently")
        return numbers


def _call(name: Name, arguments: tuple[Any, ...]) -> Any:
    """Returns what a call that checkpoints make amounts to."""
    match (name.module, name.name):
        case ("torch._utils", "_rebuild_tensor_v2"):
            return _view(*arguments[:4])
        case ("torch._utils", "_rebuild_tensor_v3"):
            dtype = arguments[6]
            if not isinstance(dtype, Name):
                raise RefusedError("a tensor that is made in an unusual way")
            if dtype.module != "torch" or dtype.name not in _NEWER:
                raise refused(dtype)
            return _view(*arguments[:4]).view(_NEWER[dtype.name])
        case ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") if isinstance(
            arguments[0], Tensor
        ):
            return arguments[0]
        case ("collections", "OrderedDict") if arguments in ((), ([],)):
            return {}
        case ("collections", "defaultdict") if all(map(_is_type, arguments)):
            return {}
        case ("collections", "Counter") if len(arguments) == 1 and type(arguments[0]) is dict:
            return arguments[0]
        case ("torch", "Size") if len(arguments) == 1 and type(arguments[0]) is tuple:
            return arguments[0]
        case ("torch", "device") if all(type(part) in (str, int) for part in arguments):
            return ":".join(map(str, arguments))
    raise refused(name)


def _is_type(value: Any) -> bool:
    return isinstance(value, Name) and is_type(value)


def _view(flat: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    """A view of numbers. Raises RefusedError if it reaches beyond them or repeats them."""
    if not (isinstance(flat, Tensor) and isinstance(size, tuple) and isinstance(stride, tuple)):
        raise RefusedError("a tensor that is made in an unusual way")
    numbers = (offset, *size, *stride)
    if any(type(number) is not int or number < 0 for number in numbers) or len(size) > 8:
        raise RefusedError("a tensor of impossible shape")
    count = math.prod(size)
    if len(size) != len(stride) or count > len(flat):
        raise RefusedError(f"a tensor of shape {size} in {len(flat)} numbers")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and last >= len(flat):
        raise RefusedError("a tensor that reaches beyond its numbers")
    return flat.as_strided(size, stride, offset if count else 0)
