"""Pickles of plain data are read by an interpreter that can do nothing else.

A pickle is a program that may import any name and call it. This interpreter knows the 35
instructions that checkpoints consist of. A name stays a pair of words, and the caller decides what
a call of it amounts to. Nothing is imported or called, and no attribute is set.
"""

import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_OBJECTS = 100_000
"""Objects in what comes out. Containers that share contents are larger than they look."""
MAX_DEPTH = 100
"""Containers within each other."""

_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class RefusedError(Exception):
    """The pickle holds something that it may not. The message names it."""


class Name(NamedTuple):
    """MODULE.NAME as the pickle has it. It is never looked up."""

    module: str
    name: str


class Stored:
    """An object as it was stored: the name of its class and its state."""

    def __init__(self, of: Name):
        self.of = of
        self.state: Any = None


def read_pickle(
    program: bytes,
    *,
    call: Callable[[Name, tuple[Any, ...]], Any],
    persistent: Callable[[Any], Any],
) -> Any:
    """Returns the data that the pickle makes.

    call: returns what a call of that name amounts to, or raises RefusedError.
    persistent: returns what an id stands for.
    Objects of classes become `Stored`. A damaged pickle raises ValueError, a refused one
    RefusedError.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memory: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        place = marks.pop()
        items = stack[place:]
        del stack[place:]
        return items

    def put(items: list[Any]) -> None:
        target = stack[-1]
        if not isinstance(target, dict):
            raise RefusedError("entries of what is no dict")
        # deep tuples, or any object, as keys: computing a hash would follow them
        if not all(isinstance(key, str | int | float) for key in items[::2]):
            raise RefusedError("a dict whose keys are no texts or numbers")
        target.update(zip(items[::2], items[1::2], strict=True))

    def add(items: list[Any]) -> None:
        if not isinstance(stack[-1], list):
            raise RefusedError("items of what is no list")
        stack[-1].extend(items)

    def apply(kind: str) -> None:
        arguments, name = stack.pop(), stack.pop()
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise RefusedError("a call of what is no name")
        stack.append(call(name, arguments) if kind == "REDUCE" else _new(name, arguments))

    def build() -> None:
        state, target = stack.pop(), stack[-1]
        if isinstance(target, Stored):
            target.state = state
        elif not isinstance(target, dict):  # a state dict's is what versions its modules were of
            raise RefusedError("a state of what is no container")

    argument: Any
    for opcode, argument, _ in pickletools.genops(program):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return plain(stack.pop())
            case "MARK":
                marks.append(len(stack))
            case constant if constant in _CONSTANTS:
                stack.append(_CONSTANTS[constant])
            case value if value in _VALUES:
                stack.append(argument)
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "APPEND":
                add([stack.pop()])
            case "APPENDS":
                add(since_mark())
            case "SETITEM":
                entry, key = stack.pop(), stack.pop()
                put([key, entry])
            case "SETITEMS":
                put(since_mark())
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                items = tuple(stack[-count:])
                del stack[-count:]
                stack.append(items)
            case "BINPUT" | "LONG_BINPUT":
                memory[argument] = stack[-1]
            case "MEMOIZE":
                memory[len(memory)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memory[argument])
            case "GLOBAL":
                stack.append(Name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                end, module = stack.pop(), stack.pop()
                if not isinstance(module, str) or not isinstance(end, str):
                    raise RefusedError("a name that is no text")
                stack.append(Name(module, end))
            case "REDUCE" | "NEWOBJ":
                apply(opcode.name)
            case "BUILD":
                build()
            case "BINPERSID":
                stack.append(persistent(stack.pop()))
            case other:
                raise RefusedError(f"the pickle instruction {other}")
    raise ValueError("a pickle without an end")


_OMEGACONF = {
    "omegaconf.dictconfig": ["DictConfig"],
    "omegaconf.listconfig": ["ListConfig"],
    "omegaconf.base": ["Metadata", "ContainerMetadata"],
    "omegaconf.nodes": [
        f"{kind}Node" for kind in ("Any", "String", "Integer", "Float", "Boolean")
    ],
}  # fmt: skip
_BUILTINS = ["dict", "list", "int", "long", "float", "str", "unicode", "bool", "tuple"]
_TYPES = {"typing": ["Any"], "builtins": _BUILTINS, "__builtin__": _BUILTINS}
"""The types that containers of OmegaConf say they may hold."""


_NAMESPACE = Name("argparse", "Namespace")
"""The options of a command, which training checkpoints keep."""
_NUMBERS = [f"{kind}{bits}" for kind in ("float", "int", "uint") for bits in (8, 16, 32, 64)]
_NUMBERS += ["bfloat16", "bool", "float8_e4m3fn", "float8_e5m2"]


def _new(name: Name, arguments: tuple[Any, ...]) -> Stored:
    known = name == _NAMESPACE or name.name in _OMEGACONF.get(name.module, ())
    if arguments or not known:
        raise refused(name)
    return Stored(name)


def refused(name: Name) -> RefusedError:
    """The error for a name that the interpreter does not know."""
    return RefusedError(f"{name.module[:60]}.{name.name[:60]}")


def plain(value: Any) -> Any:
    """Turns containers of OmegaConf, and options of commands, into dicts and lists of numbers,
    texts and what `call` made. A number type of torch becomes a text.

    Raises RefusedError for anything else, and for more than any checkpoint has.
    """
    return _plain(value, [MAX_OBJECTS], 0)


def _plain(value: Any, left: list[int], depth: int) -> Any:
    left[0] -= 1
    if left[0] < 0 or depth > MAX_DEPTH:
        raise RefusedError("more containers in each other than any checkpoint")
    if type(value) is dict:
        return {key: _plain(entry, left, depth + 1) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return [_plain(entry, left, depth + 1) for entry in value]
    if isinstance(value, Stored):
        state = value.state if type(value.state) is dict else {}
        if value.of == _NAMESPACE:
            return _plain(state, left, depth + 1)
        for name in ("_content", "_val"):  # of a container, of a leaf
            if name in state:
                return _plain(state[name], left, depth + 1)
        raise refused(value.of)
    if isinstance(value, Name):
        if value.module == "torch" and value.name in _NUMBERS:
            return value.name
        raise refused(value)
    return value


def is_type(name: Name) -> bool:
    """Whether containers of OmegaConf may mention this type."""
    return name.name in _TYPES.get(name.module, ())
