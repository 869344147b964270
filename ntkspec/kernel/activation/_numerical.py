"""Any function as an activation, by quadrature to a tolerance that is checked.

Two rules, one for each kind of function:

- smooth (`hermite`): E[φφ] = Σ_k a_k(q_x) a_k(q_z) ρ^k with the Hermite coefficients a_k by a one-dimensional rule. It
  costs n·K for the points and K multiplications a pair, and every partial sum is positive semidefinite;
- with kinks (`split`): Gauss–Legendre on cells that end at the kinks, in both variables, so that none is smeared.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkspec.checks import check_number
from ntkspec.kernel.activation import _hermite as hermite
from ntkspec.kernel.activation import _split as split
from ntkspec.kernel.activation._base import Pair
from ntkspec.module import Module

#: Second moments at which a rule is checked; a rule that fails above 1 may still be used below.
CHECKED = (1e-6, 1e-3, 0.1, 1.0, 4.0, 20.0, 100.0)


class Numerical(Module):
    """φ from a Python function, with E[φφ] and E[φ'φ'] by quadrature.

    The rule is measured on the host when it is first used, at second moments from 1e-6 to 100, relative to E[φ²] and
    E[φ'²]. Where the second moment of an input lies above what meets the tolerance (`reach`), the result is NaN, never
    a silently worse number. For tanh, silu, softplus and sigmoid at the default tolerance the reach is 100 and more;
    measured against 25-digit quadrature the error is below 1e-15 for second moments up to 4.

    With kinks every pair costs some 10⁴ to 10⁵ evaluations of φ where second moments differ from point to point;
    behind a stationary mapping they do not, and one interpolant in the angle serves all pairs.

    Args:
        function: φ, elementwise on arrays and differentiable by JAX but at the kinks; hashable, so a module-level
            function rather than a fresh lambda, or every new one compiles again.
        kinks: the points where φ or one of its derivatives jumps.
        tolerance: error of E[φφ] relative to √(E[φ(u)²] E[φ(v)²]), and of E[φ'φ'] likewise; at least 1e-13.

    Raises:
        ValueError: when first used, if the tolerance is not met even for second moments up to 1.

    Source: Daniely et al. 2016, "Toward deeper understanding of neural networks" (Hermite expansion of the dual).

    Example:
        >>> import jax, ntkspec as ns
        >>> net = ns.kernel.MLP(depth=2, activation=ns.kernel.Numerical(jax.nn.softplus))
        >>> elu = ns.kernel.Numerical(jax.nn.elu, kinks=(0.0,), tolerance=1e-10)
    """

    function: Callable[[Any], Any] = eqx.field(static=True)
    kinks: tuple[float, ...] = eqx.field(
        default=(), static=True, converter=lambda kinks: tuple(sorted({float(kink) for kink in kinks}))
    )
    tolerance: float = eqx.field(default=1e-12, static=True)

    def __check_init__(self) -> None:
        if not callable(self.function):
            raise ValueError(f"function={self.function!r}; expected an elementwise function of JAX arrays")
        if not np.isfinite(self.kinks).all():
            raise ValueError(f"kinks={self.kinks}; expected finite numbers")
        check_number("tolerance", self.tolerance, 1e-13, 1, hint="float64 sums reach 1e-13")

    def __call__(self, u: Array) -> Array:
        return self.function(u)

    @property
    def differentiable(self) -> bool:
        """Whether φ is continuous at its kinks; a jump has no E[φ'φ']."""
        return not _jumps(self.function, self.kinks)

    @property
    def reach(self) -> float:
        """The largest second moment at which the rule meets the tolerance, as far as it was checked."""
        if not self.kinks:
            return hermite.reaches(self.function, self.tolerance)[-1]
        return _split_reach(self.function, self.kinks, self.tolerance)

    def dual(self, pair: Pair) -> tuple[Pair, Array]:
        if self.reach < 1:
            raise ValueError(
                f"{self!r} does not meet its tolerance for second moments up to 1 (it reaches {self.reach:g}); "
                "give the points where the function or a derivative jumps as kinks=(...), or a larger tolerance"
            )
        if self.kinks:
            moments, derivative = split.dual(self.function, self.kinks, pair)
        else:
            moments, derivative = hermite.dual(self.function, self.tolerance, pair)
        within = jnp.maximum(jnp.max(pair.second_x), jnp.max(pair.second_z)) <= self.reach
        return jax.tree.map(lambda a: jnp.where(within, a, jnp.nan), (moments, derivative))


@functools.lru_cache(maxsize=64)
def _jumps(function: Callable[[Any], Any], kinks: tuple[float, ...]) -> bool:
    with jax.ensure_compile_time_eval():
        return any(
            abs(float(function(jnp.asarray(kink + 1e-9))) - float(function(jnp.asarray(kink - 1e-9)))) > 1e-6
            for kink in kinks
        )


@functools.lru_cache(maxsize=64)
def _split_reach(function: Callable[[Any], Any], kinks: tuple[float, ...], tolerance: float) -> float:
    """Two orders of the rule compared at second moments up to 100 and angles from 1e-6 to π."""
    reach = 0.0
    with jax.ensure_compile_time_eval():
        for q in CHECKED:
            if split.error(function, kinks, q) > tolerance:
                break
            reach = q
    return reach
