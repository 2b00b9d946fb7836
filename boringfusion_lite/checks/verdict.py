"""The form of every check: a function that tries the reader's own and says right, not yet or why.

An untouched exercise returns None or `...` and is "not attempted", so a page always runs through.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps

import torch
from torch import Tensor


@dataclass(frozen=True)
class Verdict:
    """What a check found: passed is True, False, or None where nothing was attempted."""

    passed: bool | None
    message: str

    def __repr__(self) -> str:
        if self.passed is None:
            return self.message
        return f"{'✓ right' if self.passed else '✗ not yet'}: {self.message}"


class Wrong(Exception):
    """An answer is not right; the message says what was expected, what came, and likely why."""


class NotAttempted(Exception):
    """The exercise is as the page left it."""


def checks(check: Callable[..., str]) -> Callable[..., Verdict]:
    """Make a checker of a function that raises `Wrong`, or returns what the reader got right."""

    @wraps(check)
    def checker(yours: Callable, *args) -> Verdict:
        try:
            return Verdict(True, check(yours, *args))
        except NotAttempted:
            return Verdict(None, "not attempted")
        except Wrong as wrong:
            return Verdict(False, str(wrong))
        except Exception as error:  # the reader's function may raise anything
            return Verdict(False, f"it stops with {type(error).__name__}: {error}")

    return checker


def ask(yours: Callable, *args, **options):
    """The answer of the reader's function; NotAttempted for none, Wrong where it edits a tensor."""
    before = [arg.clone() if isinstance(arg, Tensor) else None for arg in args]
    answer = yours(*args, **options)
    for number, (arg, copy) in enumerate(zip(args, before), start=1):
        if copy is not None and not torch.equal(arg, copy):
            raise Wrong(
                f"argument {number} was changed in place; make a copy first (`.clone()`), "
                "somebody else may still need it."
            )
    if answer is None or answer is ...:
        raise NotAttempted
    return answer


def expect(
    answer, wanted, what: str, causes: Mapping[str, object] | None = None, tolerance: float = 1e-5
) -> None:
    """`Wrong` unless the answer equals what is wanted, numbers and tensors up to the tolerance.

    causes: {likely reason: the answer that it leads to}; a match is named in the message.
    """
    if _equal(answer, wanted, tolerance):
        return
    for reason, outcome in (causes or {}).items():
        if _equal(answer, outcome, tolerance):
            raise Wrong(f"{what} is not right yet. {reason}")
    raise Wrong(f"{what}: expected {_told(wanted)}, got {_told(answer)}.")


def _equal(one, other, tolerance: float) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        alike = one.shape == other.shape and not one.isnan().any()
        return alike and torch.allclose(one.float(), other.float(), tolerance, tolerance)
    if isinstance(other, float) and isinstance(one, int | float | Tensor):
        return abs(float(one) - other) <= tolerance * max(1.0, abs(other))
    return type(one) is type(other) and one == other


def _told(value) -> str:
    """A value in the length of a line; a tensor by shape and its first numbers."""
    if isinstance(value, Tensor):
        first = ", ".join(f"{n:.4g}" for n in value.flatten()[:4].tolist())
        return f"a tensor {list(value.shape)} beginning {first}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
