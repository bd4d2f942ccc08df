"""The run-time type checker of the tests: an int may stand where a float is asked for.

The first calls of a function in every test are checked. A sampler calls the same functions
thousands of times, and checking them all took more time than the calls. A function within another
is made at every call of that one: all that come of the same lines count as one function.
"""

from collections.abc import Callable
from functools import partial, wraps
from types import CodeType
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import jaxtyped

CHECKED_CALLS = 2
"""Of a function in a test, arguments and result."""

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))


class _Calls:
    """How many calls of the functions of some lines are still checked in this test."""

    __slots__ = ("code", "left")

    def __init__(self, code: CodeType):
        self.code, self.left = code, CHECKED_CALLS


_calls: dict[int, _Calls] = {}
_begun: list[_Calls] = []


def install() -> None:
    """Check all of the package that is imported from here on."""
    jaxtyping.install_import_hook("patch_forcing", f"{__name__}.{check.__name__}")
    jaxtyping.jaxtyped = _jaxtyped  # which the hook's code calls


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """The checker, which the import hook finds by this name."""
    return _check(function)


def begin_test() -> None:
    """Check the first calls of all functions again."""
    for calls in _begun:
        calls.left = CHECKED_CALLS
    _begun.clear()


def _jaxtyped(*, typechecker: Callable[..., Any]) -> Callable[[Any], Any]:
    """The decorator of jaxtyping, but applied to a function when it is called for the first time.

    Most functions have no call in a process, and decorating all of them takes seconds.
    """
    return partial(_decorated, typechecker)


def _decorated(typechecker: Callable[..., Any], thing: Any) -> Any:
    if isinstance(thing, type):
        made = thing.__dict__.get("__init__")  # by dataclass, where it is not in the source
        if "__dataclass_fields__" in thing.__dict__ and made and not hasattr(made, "__wrapped__"):
            thing.__init__ = _first_calls(typechecker, made)
        return thing
    if isinstance(thing, classmethod | staticmethod):
        return type(thing)(_first_calls(typechecker, thing.__func__))
    if isinstance(thing, property):
        parts = thing.fget, thing.fset, thing.fdel
        return property(*(part and _first_calls(typechecker, part) for part in parts))
    return _first_calls(typechecker, thing)


def _first_calls(typechecker: Callable[..., Any], function: Any) -> Callable[..., Any]:
    code = function.__code__
    calls = _calls.setdefault(id(code), _Calls(code))  # which keeps it, so that no other has its id
    checked: Callable[..., Any] | None = None

    @wraps(function)
    def first_calls(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked
        if not calls.left:
            return function(*args, **kwargs)
        if calls.left == CHECKED_CALLS:
            _begun.append(calls)
        calls.left -= 1
        checked = checked or jaxtyped(function, typechecker=typechecker)
        return checked(*args, **kwargs)

    return first_calls
