"""The run-time type checker of the tests: an int may stand where a float is asked for.

The first calls of a function in every test are checked. A sampler calls the same functions
thousands of times, and checking them all took more time than the calls.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from beartype import BeartypeConf, beartype

CHECKED_CALLS = 2
"""Of a function in a test; arguments and result count as one each."""

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))
_test = 0
_unchecked: list[Any] = []


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """What jaxtyping calls with the annotations of a function: its first calls are checked.

    The checking code is made at the first of them, as most functions have none in a process.
    """
    checked, calls, test = None, 0, 0

    @wraps(function)
    def first_calls(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked, calls, test
        checked = checked or _check(function)
        calls, test = calls + 1 if test == _test else 1, _test
        if calls > CHECKED_CALLS:
            _leave_alone(sys._getframe(1).f_locals.get("fn"))
        return checked(*args, **kwargs)

    return first_calls


def _leave_alone(function: Any) -> None:
    """What typing.no_type_check does, which jaxtyping asks for at every call."""
    if function is not None:
        function.__no_type_check__ = True
        _unchecked.append(function)


def begin_test() -> None:
    """Check all functions again."""
    global _test
    _test += 1
    for function in _unchecked:
        function.__dict__.pop("__no_type_check__", None)
    _unchecked.clear()
