"""What comes in, checked once, in words for people. A leaf."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

__all__ = [
    "check_labels",
    "check_points",
    "check_positive",
    "check_seed",
    "check_sizes",
    "check_steps",
    "refuse_complex",
]


def check_points(x: ArrayLike, dim: int) -> Array:
    """`x` as an array of shape (n, dim).

    Raises:
        ValueError: if it has another shape, or holds NaN or infinity.
        TypeError: if it is complex.
    """
    refuse_complex("points", x, "give real and imaginary parts as two coordinates, np.stack([x.real, x.imag], axis=1)")
    x = jnp.asarray(x, dtype=float)
    if x.ndim != 2 or x.shape[1] != dim:
        hint = "reshape 1-D coordinates to (n, 1)" if x.ndim == 1 else "one row a point"
        raise ValueError(f"points have shape {x.shape}; expected (n, {dim}): {hint}")
    if not isinstance(x, jax.core.Tracer) and not bool(jnp.isfinite(x).all()):
        raise ValueError("points hold NaN or infinity; remove those rows")
    return x


def check_labels(y: ArrayLike, num_points: int) -> Array:
    """Labels as an array (n,) or (n, c) for n points.

    Raises:
        ValueError: if the shape does not match or a value is not finite.
        TypeError: if they are complex.
    """
    refuse_complex("labels", y, "give real and imaginary parts as two channels, np.stack([y.real, y.imag], axis=1)")
    y = jnp.asarray(y, dtype=float)
    if y.ndim not in (1, 2) or y.shape[0] != num_points:
        raise ValueError(
            f"labels have shape {y.shape}; expected ({num_points},) or ({num_points}, channels), one row a point "
            "(for values on a whole lattice: K.restrict(values))"
        )
    if not bool(jnp.isfinite(y).all()):
        raise ValueError("labels hold NaN or infinity; remove those points with a mask")
    return y


def refuse_complex(what: str, values: ArrayLike, instead: str) -> None:
    """Refuse complex values, whose imaginary part a cast to real numbers would drop.

    Raises:
        TypeError: naming them; `instead` says what to give.
    """
    if jnp.iscomplexobj(values):
        raise TypeError(f"{what} are complex; {instead}")


def check_steps(steps: Sequence[float]) -> np.ndarray:
    """Steps as an increasing array.

    Raises:
        ValueError: if there are none, or they are negative, not finite or not increasing.
    """
    asked = np.atleast_1d(np.asarray(steps))
    if asked.ndim != 1 or asked.size == 0 or not np.issubdtype(asked.dtype, np.number):
        raise ValueError(f"steps={steps!r}; expected a list of numbers such as [0, 10, 100]")
    if not np.isfinite(asked).all() or (asked < 0).any() or (np.diff(asked) <= 0).any():
        raise ValueError(f"steps={asked.tolist()}; expected increasing numbers that are not negative")
    return asked


def check_sizes(**sizes: int) -> None:
    """Refuse sizes that are not positive integers.

    Raises:
        ValueError: naming the size.
    """
    for name, size in sizes.items():
        if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name}={size!r}; expected a positive integer")


def check_seed(seed: int) -> None:
    """Refuse a seed that is no whole number from 0 to 2⁶³ − 1.

    Raises:
        ValueError: naming it.
    """
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise ValueError(f"seed={seed!r}; expected a whole number from 0 on, such as 0")


def check_positive(name: str, value: float, hint: str) -> None:
    """Refuse a value that is not a positive, finite number; `hint` says what would be one.

    Raises:
        TypeError: if it is no number.
        ValueError: naming the value.
    """
    try:
        positive = bool(np.isfinite(value) and value > 0)
    except (TypeError, ValueError):
        raise TypeError(f"{name}={value!r}; expected a positive number ({hint})") from None
    if not positive:
        raise ValueError(f"{name}={value}; expected a positive number ({hint})")
