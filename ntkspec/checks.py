"""Checks of arguments, each made once, at a public door. A leaf, which imports JAX where arrays need it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from jax import Array

__all__ = [
    "Refused",
    "as_columns",
    "check_choice",
    "check_fits",
    "check_flag",
    "check_function",
    "check_labels",
    "check_mask",
    "check_number",
    "check_numbers",
    "check_points",
    "check_positive",
    "check_progress",
    "check_seed",
    "check_shape",
    "check_sizes",
    "check_steps",
    "check_that",
    "check_whole_steps",
    "shown",
]


class Refused(ValueError):
    """Bad input, with advice that names arguments as Python or as the command line has them.

    Args:
        message: what was got, what was expected and what to try, with arguments as ``{name}``.
        **arguments: value to show for each of them; ``...`` shows its name alone.

    Example:
        >>> error = Refused("no folder to go on from; give {checkpoint} with {resume}", checkpoint=..., resume=True)
        >>> str(error)
        'no folder to go on from; give checkpoint=... with resume=True'
        >>> error.on_command_line()
        'no folder to go on from; give --checkpoint with --resume'
    """

    def __init__(self, message: str, **arguments: Any) -> None:
        self.message, self.arguments = message, arguments
        super().__init__(self._with(lambda name, value: f"{name}={'...' if value is ... else repr(value)}"))

    def on_command_line(self) -> str:
        """Return the message with the options of the command line in place of arguments."""
        return self._with(_option)

    def _with(self, shown: Callable[[str, Any], str]) -> str:
        # Braces around anything else are a person's own, in the name of a file or of a column.
        names = "|".join(map(re.escape, self.arguments)) or "(?!)"
        return re.sub(rf"\{{({names})\}}", lambda hit: shown(hit[1], self.arguments[hit[1]]), self.message)


def check_that(holds: Any, message: str, **arguments: Any) -> None:
    """Refuse what does not hold.

    Raises:
        Refused: with that message.
    """
    if not holds:
        raise Refused(message, **arguments)


def _option(name: str, value: Any) -> str:
    flag = "--" + name.replace("_", "-")
    if value is False:
        return "--no-" + flag[2:]
    if value is True or value is ...:
        return flag
    return f"{flag} {' '.join(map(str, value)) if isinstance(value, list | tuple) else value}"


def shown(value: Any) -> str:
    """Return a value as a message names it: itself where that is short, else what kind of thing it is."""
    text = repr(value)
    return text if len(text) <= 80 and "\n" not in text else f"a {type(value).__name__}"


def check_numbers(what: str, values: ArrayLike, expected: str, complex_as: str) -> Array:
    """`values` as an array of real numbers, in the default precision.

    Args:
        what: name of the values in the plural, such as "labels".
        values: numbers, in any container.
        expected: description of the shape.
        complex_as: advice for complex ones, whose imaginary part a cast would drop.

    Raises:
        TypeError: if they are not numbers, rows of several lengths, or complex.
    """
    import jax
    import jax.numpy as jnp

    try:
        # Not by jax, which reads numbers out of strings and dates.
        found = values if isinstance(values, jax.Array) else np.asarray(values)
    except jax.errors.TracerArrayConversionError:
        found = jnp.asarray(values)
    except (TypeError, ValueError):
        got = "rows of several lengths" if isinstance(values, list | tuple) else f"a {type(values).__name__}"
        raise TypeError(f"{what} are {got}; expected numbers, {expected}") from None
    if jnp.issubdtype(found.dtype, jnp.complexfloating):
        raise TypeError(f"{what} are complex; {complex_as}")
    if not _are_real(found):
        raise TypeError(f"{what} are {_kind(values, found)}; expected numbers, {expected}")
    return jnp.asarray(found, dtype=float)


def _are_real(found: Any) -> bool:
    import jax.numpy as jnp

    if found.dtype == object:
        return all(isinstance(value, Real | np.bool_) for value in found.flat)
    return any(jnp.issubdtype(found.dtype, kind) for kind in (jnp.integer, jnp.floating, jnp.bool_))


def _kind(values: Any, found: Any) -> str:
    """Return the kind of an array's entries that are not numbers."""
    if found.ndim == 0:
        return repr(values) if values is None or isinstance(values, str | bytes) else f"a {type(values).__name__}"
    if found.dtype == object:
        odd = next(value for value in found.flat if not isinstance(value, Real | np.bool_))
        return "partly None" if odd is None else f"partly of type {type(odd).__name__}"
    return {"U": "strings", "S": "bytes", "M": "dates", "m": "durations"}.get(found.dtype.kind, f"of {found.dtype}")


def check_points(x: ArrayLike, dim: int | None, what: str = "points", least: int = 0) -> Array:
    """`x` as an array of shape (n, dim), of any dim where that is None.

    Raises:
        ValueError: if it has another shape, fewer rows than `least`, or holds NaN or infinity.
        TypeError: if it is complex, or does not hold numbers.
    """
    shape = f"(n, {'p' if dim is None else dim})"
    x = check_numbers(
        what,
        x,
        f"shape {shape}, one row a point",
        "give real and imaginary parts as two coordinates, np.stack([x.real, x.imag], axis=1)",
    )
    if x.ndim != 2 or dim not in (None, x.shape[1]):
        hint = "reshape 1-D coordinates to (n, 1)" if x.ndim == 1 else "one row a point"
        raise ValueError(f"{what} have shape {x.shape}; expected {shape}: {hint}")
    if len(x) < least:
        raise ValueError(f"{what} have shape {x.shape}; expected at least one row")
    import jax

    if not isinstance(x, jax.core.Tracer) and not bool(np.isfinite(x).all()):
        raise ValueError(f"{what} hold NaN or infinity; remove those rows")
    return x


def check_shape(shape: Any, dim: int | None = None, least: int = 1, name: str = "shape") -> tuple[int, ...]:
    """Return the sizes of a lattice on each axis, `dim` of them, as a tuple.

    Raises:
        ValueError: if there is another number of them, or one is not a whole number of at least `least`.
    """
    sizes = np.atleast_1d(shape)
    whole = sizes.ndim == 1 and sizes.size and np.issubdtype(sizes.dtype, np.integer)
    if not whole or sizes.min() < least or dim not in (None, len(sizes)):
        count = "" if dim is None else f"{dim} "
        raise ValueError(f"{name}={shape}; expected {count}sizes of at least {least}, whole numbers of points an axis")
    return tuple(sizes.tolist())


def check_mask(mask: ArrayLike, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return a boolean mask, of a given shape, that keeps something.

    Raises:
        ValueError: if it does not hold booleans, has another shape or keeps nothing.
    """
    kept = np.asarray(mask)
    if kept.dtype != np.bool_ or shape not in (None, kept.shape) or not kept.any():
        what = f"the mask has shape {kept.shape}, type {kept.dtype}, and keeps {int(kept.sum())}"
        raise ValueError(f"{what}; expected booleans{'' if shape is None else f' {shape}'}, one of them True")
    return kept


def check_fits(holds: bool, name: str, shape: Any, expected: str) -> None:
    """Refuse an array, or arrays, of another shape.

    Raises:
        ValueError: if it does not hold; the message says what is `expected`.
    """
    if not holds:
        raise ValueError(f"`{name}` has shape {shape}; expected {expected}")


def check_labels(y: ArrayLike, num_points: int) -> Array:
    """Labels as an array (n,) or (n, c) for n points.

    Raises:
        ValueError: if the shape does not match or a value is not finite.
        TypeError: if they are complex, or not numbers.
    """
    y = check_numbers(
        "labels",
        y,
        f"shape ({num_points},) or ({num_points}, channels), one row a point",
        "give real and imaginary parts as two channels, np.stack([y.real, y.imag], axis=1)",
    )
    if y.ndim not in (1, 2) or y.shape[0] != num_points:
        raise ValueError(
            f"labels have shape {y.shape}; expected ({num_points},) or ({num_points}, channels), one row a point "
            "(for values on a whole lattice: K.restrict(values))"
        )
    if not bool(np.isfinite(y).all()):
        raise ValueError("labels hold NaN or infinity; remove those points with a mask")
    return y


def as_columns(y: ArrayLike, num_points: int) -> tuple[np.ndarray, Callable[[Any], Any]]:
    """Labels (n,) or (n, c) as columns, and what gives columns the labels' own shape again.

    Returns:
        The labels, float64 of shape (n, c), and a function that turns arrays (..., n, c) into (..., n) where the labels
        have one axis.

    Example:
        >>> columns, restore = as_columns([1.0, 2.0, 3.0], 3)
        >>> columns.shape, restore(columns).shape
        ((3, 1), (3,))
    """
    labels = np.asarray(check_labels(y, num_points), dtype=float)
    if labels.ndim == 2:
        return labels, lambda columns: columns
    return labels[:, None], lambda columns: columns[..., 0]


def check_number(name: str, value: float, low: float, high: float = float("inf"), *, hint: str) -> float:
    """Return a number from `low` to `high`, as a float.

    Raises:
        ValueError: naming it; `hint` says what it is.
    """
    try:
        inside = np.ndim(value) == 0 and bool(np.isfinite(value) and low <= value <= high)
    except TypeError:
        inside = False
    if not inside:
        bounds = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
        raise ValueError(f"{name}={shown(value)}; expected a number of {bounds}: {hint}")
    return float(value)


def check_steps(steps: Sequence[float]) -> np.ndarray:
    """Return steps, or a single one, as an increasing array.

    Raises:
        ValueError: if there are none, or they are negative, not finite or not increasing.
    """
    try:
        array = np.atleast_1d(np.asarray(steps))
    except (TypeError, ValueError):
        array = np.array([None])
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iuf":
        raise ValueError(f"steps={shown(steps)}; expected a list of numbers such as [0, 10, 100]")
    if not np.isfinite(array).all() or (array < 0).any() or (np.diff(array) <= 0).any():
        raise ValueError(f"steps={array.tolist()}; expected increasing numbers that are not negative")
    return array


def check_whole_steps(steps: Sequence[int]) -> np.ndarray:
    """Return the steps of a network: those of `check_steps`, if they are whole.

    Raises:
        ValueError: if one is not whole, or beyond 2⁵³.
    """
    array = check_steps(steps)
    if (array != np.rint(array)).any() or array[-1] > 2**53:
        raise ValueError(f"steps={array.tolist()}; expected whole numbers: a network takes no half steps")
    return array.astype(np.int64)


def check_sizes(least: int = 1, /, **sizes: int) -> None:
    """Refuse sizes that are not whole numbers of at least `least`.

    Raises:
        ValueError: if one is not; the message names it.
    """
    expected = "a positive integer" if least == 1 else f"a whole number of at least {least}"
    for name, size in sizes.items():
        _require(_is_whole(size) and size >= least, ValueError, name, size, expected)


def check_seed(seed: int) -> None:
    """Refuse a seed that is not a whole number from 0 to 2⁶³ − 1.

    Raises:
        ValueError: if it is not.
    """
    _require(_is_whole(seed) and 0 <= seed < 2**63, ValueError, "seed", seed, "a whole number from 0 on, such as 0")


def check_positive(name: str, value: float, hint: str) -> None:
    """Refuse a value that is not a positive, finite number; the hint is an example, or says what it means.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is not positive and finite.
    """
    is_number = isinstance(value, Real) or (np.ndim(value) == 0 and _are_real(np.asarray(value)))
    is_number = is_number and not isinstance(value, bool | np.bool_)
    _require(is_number, TypeError, name, value, f"a positive number ({hint})")
    _require(bool(np.isfinite(value) and value > 0), ValueError, name, value, f"a positive number ({hint})")


def check_choice(name: str, value: str, *choices: str) -> None:
    """Refuse a value that is not one of a few words.

    Raises:
        ValueError: naming them.
    """
    is_one = isinstance(value, str) and value in choices
    _require(is_one, ValueError, name, value, " or ".join(map(repr, choices)))


def check_flag(name: str, value: bool) -> None:
    """Refuse a value that is neither True nor False.

    Raises:
        TypeError: if it is neither.
    """
    _require(isinstance(value, bool | np.bool_), TypeError, name, value, "True or False")


def check_function(name: str, value: Any, expected: str) -> None:
    """Refuse what is neither callable nor None.

    Raises:
        TypeError: if it is neither; the message says what is `expected`.
    """
    _require(value is None or callable(value), TypeError, name, value, f"{expected}, or None")


def check_progress(progress: Any) -> None:
    """Refuse what is not a reporter of `ntkspec.progress`, or one like them.

    Raises:
        TypeError: if it has no method `start`.
    """
    is_reporter = callable(getattr(progress, "start", None)) and not isinstance(progress, type)
    names = "ns.progress.TerminalProgress(), or ns.progress.NO_PROGRESS for none"
    _require(is_reporter, TypeError, "progress", progress, f"a reporter with a method `start`, such as {names}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _require(holds: bool, kind: type[Exception], name: str, value: Any, expected: str) -> None:
    if not holds:
        raise kind(f"{name}={shown(value)}; expected {expected}")
