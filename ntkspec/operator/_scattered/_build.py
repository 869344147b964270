"""A kernel on scattered points: exact and streamed, or fast with an error that is bounded and checked."""

from __future__ import annotations

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.kernel._composed import ComposedKernel, Which
from ntkspec.limits import refuse_if_too_large
from ntkspec.operator._base import check_kernel_points
from ntkspec.operator._scattered._exact import Streamed, streamed
from ntkspec.operator._scattered._fourier import Nonuniform
from ntkspec.operator._scattered._search import Search
from ntkspec.progress import NO_PROGRESS, Progress

__all__ = ["check_fast", "scattered"]

#: Transforms round like n log n; nothing below this is promised.
LEAST_TOLERANCE = 1e-11


def scattered(
    k: ComposedKernel,
    x: ArrayLike,
    tol: float | None = None,
    *,
    which: Which = "ntk",
    progress: Progress = NO_PROGRESS,
) -> Streamed | Nonuniform:
    """Return the kernel K_ij = k(x_i, x_j) on scattered points, without its matrix.

    Without a tolerance the exact form: entries are computed as they are multiplied, n² of them a product at some tens
    of nanoseconds each (minutes for 10⁵ points on two cores), for any kernel and any points, with memory O(n).

    With a tolerance the fast form, for stationary kernels on [0, 1)^d, d ≤ 3: a Fourier series of the kernel and
    nonuniform FFTs, so that ‖(K − fast form) v‖ ≤ tol · λ_max ‖v‖. **What a tolerance costs.** The series needs the
    frequencies whose coefficient is above about tol times the largest. Smooth activations: somewhat more than the
    mapping's own frequencies, hardly dependent on tol. A kernel with a cusp (ReLU) has coefficients that fall like
    |ξ|^−(d+1): every factor 10 in tol costs a factor 10^(1/(d+1)) in frequencies an axis, from the mapping's bandwidth
    on, so 1e-3 is cheap, 1e-8 is within reach for d = 1 and mostly out of it for d = 2 and 3; that is refused with the
    smallest error within reach. Few points need more of them, for λ_max is small. The search costs at most a table of
    16 million lags (1.3 GiB, about a minute), and ends before it where the decay seen so far tells that this would not
    do; for d = 3 that is 64 frequencies an axis, which a kernel without a period seldom gets by with.

    **Where exact entries are quicker** than any series to the tolerance (always up to 128 points; up to 8,192 if the
    series is long) the exact form is taken, at once, and reported to `progress`: a `Streamed`, whose `error` is 0.

    The error is not an estimate from samples alone: the operator norm of what the series leaves out is bounded by a
    large sieve over the points (`operator/_scattered/_bound.py`), with coefficients beyond the table's continued by
    their power law; what the table cannot show is measured against exact entries on random pairs of points, the
    products on random rows. `error` is the larger of bound and measurement, and never above tol.

    Args:
        k: a composed kernel.
        x: points, shape (n, d).
        tol: None, or the error allowed, relative to λ_max, between 1e-11 and 1.
        which: "ntk" or "nngp".
        progress: reporter of the search for a series (seconds to minutes).

    Returns:
        `Streamed`, whose `error` is 0, or `Nonuniform` with its own.

    Raises:
        ValueError: if the points have the wrong shape, or hold NaN; with a tolerance also if the kernel is not
            stationary, points are outside [0, 1)^d, or the tolerance is out of reach.
        TypeError: if the kernel is a network without a mapping, or a fast form is built inside a JAX transformation.
        ImportError: if a fast form is wanted and jax-finufft is not installed.

    Example:
        >>> import ntkspec as ns, numpy as np
        >>> x = np.random.default_rng(0).random((500, 1))
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=1))
        >>> exact, fast = ns.operator.scattered(k, x), ns.operator.scattered(k, x, tol=1e-3)
        >>> difference = np.linalg.norm((exact @ np.ones(500)) - (fast @ np.ones(500)))
        >>> bool(difference <= fast.error * ns.operator.largest_eigenvalue(exact) * 500**0.5), fast.error <= 1e-3
        (True, True)
    """
    points = check_kernel_points(k, x, which)
    if which == "ntk":
        k.network.require_derivative()
    if tol is None:
        n = points.shape[0]
        width = k.mapping.num_features if k.mapping.finite else 1
        refuse_if_too_large(2 * 8 * n * width, f"the features of {n:,} points", "take fewer points or frequencies")
        return streamed(k, points, which)
    check_fast(k, points, tol)
    return Search(k, points, tol, which).run(progress)


def check_fast(k: ComposedKernel, points: Array, tol: float) -> None:
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((k, points))):
        raise TypeError(
            "the fast form looks at numbers to choose its series and cannot be built inside jit, vmap or grad: build "
            "it outside and pass the operator in, or leave `tol` out: the exact form can be traced"
        )
    if not LEAST_TOLERANCE <= tol < 1:
        low = f"{LEAST_TOLERANCE:g}, where transforms round"
        raise ValueError(f"tol={tol}; expected between {low}, and 1; tol=None is exact")
    exact = "operator.scattered(k, x) without `tol`"
    if not k.stationary or k.dim > 3:
        what = f"one of {k.dim} coordinates" if k.stationary else "not a function of the lag alone"
        needs = "a fast form needs a stationary kernel of at most 3 coordinates"
        raise ValueError(f"{needs}, and this one is {what}; {exact} is exact for any kernel")
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    if (low < 0).any() or (high >= 1).any():
        raise ValueError(
            f"points reach from {low.tolist()} to {high.tolist()}, outside [0, 1)^{k.dim}; for a kernel of period 1 "
            f"give x % 1; otherwise rescale them and the frequencies; {exact} takes any points"
        )
