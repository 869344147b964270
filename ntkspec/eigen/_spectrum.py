"""The eigenvalues of an operator, each with its error bound, multiplicity and dominant frequency."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import xarray as xr

from ntkspec.eigen._exact import multiplicity, ordered_half
from ntkspec.eigen._extreme import Eigenpairs, leading_eigenpairs
from ntkspec.eigen._frequency import dominant, half_frequencies, half_radius, one_sign, rates
from ntkspec.eigen._quadrature import precision
from ntkspec.grid import Grid
from ntkspec.limits import current
from ntkspec.operator import Lattice, Operator
from ntkspec.operator._modes import Modes
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes

__all__ = ["spectrum"]


def spectrum(
    K: Operator,
    num_modes: int | None = None,
    *,
    tolerance: float = 1e-8,
    max_basis: int = 256,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Eigenvalues in descending order: K u = λ u.

    Exact where the operator knows its modes (by one FFT if it is circulant); else by eigendecomposition of the matrix
    up to n = 4,096 points (1,024 if fewer than half of the modes are wanted), and by block Lanczos for the leading
    modes beyond.

    Args:
        K: a kernel operator on n points.
        num_modes: how many of the largest to return; None means all where that is exact, else 128.
        tolerance: on the residual of each pair relative to λ_max (block Lanczos).
        max_basis: vectors that block Lanczos keeps at once, for twice as many points' memory: more of them, fewer
            products.
        seed: seed of the starting block.
        progress: reporter.

    Returns:
        Dataset with dimension `mode`: `eigenvalue`, `eigenvalue_error` (some eigenvalue of K lies within it, and once
        `converged` it is this one; an operator with an `approximation_error` adds it), `converged` (error within the
        tolerance), `multiplicity` (modes with an eigenvalue equal within the bounds; of a level cut by `num_modes`
        block Lanczos counts those held), `dominant_frequency` (mode, axis) in cycles per unit and `dominant_power`, the
        part of the eigenvector's power at ± that frequency; `frequency_spread`, the root mean square distance of
        |frequency| from the dominant one in that power, cycles per unit: what masks and boundaries leak (the three are
        NaN for points off a lattice). Scalars `trace` and `frobenius_norm` of K. On a lattice also `kernel_lag` (axis,
        lag), and of each band (frequency) the number of its plane waves u, `frequency_count`, and mean, least and
        largest of their uᴴKu/uᴴu, the rate at which they start to be learned (an eigenvalue where K is circulant):
        `rayleigh_quotient`, `rayleigh_least` and `rayleigh_largest`.

    Raises:
        ValueError: if `num_modes` is not between 1 and n.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=3))
        >>> s = ns.eigen.spectrum(ns.operator.lattice(k, shape=(32,)))
        >>> s.dominant_frequency[:3, 0].values.tolist(), s.multiplicity[:3].values.tolist()
        ([0.0, 1.0, 1.0], [1, 2, 2])
    """
    n = K.num_points
    if num_modes is not None and not 1 <= num_modes <= n:
        raise ValueError(f"num_modes={num_modes}; expected between 1 and the number of points, {n}")
    rounding = precision(K)
    modes = K.modes()
    if modes is not None and modes.waves is not None:
        columns = _plane_waves(modes, modes.waves, num_modes or n, rounding)
    else:
        limit = current().cheap_points
        count = num_modes or (n if n <= limit else 128)
        if modes is not None:
            pairs = _of_modes(modes, num_modes or n)
        elif n <= limit or 2 * count > n:
            pairs = _dense(K)
        else:
            # Below the rounding of a product no residual can come.
            reachable = max(tolerance, 4 * rounding)
            pairs = leading_eigenpairs(K, count, tolerance=reachable, max_basis=max_basis, seed=seed, progress=progress)
        error = pairs.residuals + rounding * pairs.values[0] + K.approximation_error
        columns = {
            "eigenvalue": ("mode", pairs.values),
            "eigenvalue_error": ("mode", error),
            # Before any mode is left out, so that the last one knows of a partner behind it.
            "multiplicity": ("mode", multiplicity(pairs.values, error)),
            **dominant(pairs.vectors[:, :num_modes], K.placement),
        }
        columns = {name: (dims, values[:num_modes]) for name, (dims, values) in columns.items()}
    value, error = columns["eigenvalue"][1], columns["eigenvalue_error"][1]
    dataset = xr.Dataset(
        {
            **columns,
            "converged": ("mode", error <= max(tolerance, 5 * rounding) * value[0]),
            **_invariants(K),
            **({**_lag_profile(K), **rates(K)} if isinstance(K, Lattice) else {}),
        },
        coords={"mode": pd.RangeIndex(len(value))},
        attrs={**attributes(operator=K), "num_points": n, "complete": int(len(value) == n)},
    )
    for name, (long_name, units) in LABELS.items():
        if name in dataset.variables:
            dataset[name].attrs.update(long_name=long_name, units=units)
    return dataset


def _plane_waves(modes: Modes, grid: Grid, num_modes: int, rounding: float) -> dict[str, tuple]:
    """Columns of plane waves, whose sine and cosine are two modes; what is the same for all is one number in memory."""
    value, weight = modes.eigenvalue, modes.weight
    error = rounding * float(value.max())
    # In one dimension the half spectrum is in the order of the frequencies as it is.
    radius = None if grid.dim == 1 else half_radius(grid).ravel()
    order, times = ordered_half(value, weight, radius, num_modes, error)

    def of_modes(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, weight[order], axis=0)[:num_modes]

    return {
        "eigenvalue": ("mode", of_modes(value[order].astype(float, copy=False))),
        "eigenvalue_error": ("mode", np.broadcast_to(error, num_modes)),
        "multiplicity": ("mode", of_modes(times)),
        "dominant_frequency": (("mode", "axis"), of_modes(one_sign(half_frequencies(grid, order)))),
        "dominant_power": ("mode", np.broadcast_to(1.0, num_modes)),
        "frequency_spread": ("mode", np.broadcast_to(0.0, num_modes)),
    }


def _invariants(K: Operator) -> dict[str, float]:
    """Return the trace and ‖K‖_F, from the eigenvalues where they are known: other sums would form the lags again."""
    modes = K.modes()
    if modes is not None:
        value, weight = modes.eigenvalue, modes.weight
        trace, squares = float(np.sum(weight * value, dtype=float)), float(np.sum(weight * value**2, dtype=float))
    else:
        trace, squares = float(K.trace()), float(K.frobenius_norm()) ** 2
    return {"trace": trace, "frobenius_norm": math.sqrt(squares)}


def _dense(K: Operator) -> Eigenpairs:
    matrix = np.asarray(K.to_dense(), dtype=float)
    value, vector = np.linalg.eigh(matrix)
    value, vector = value[::-1].copy(), vector[:, ::-1].copy()
    residual = np.linalg.norm(matrix @ vector - vector * value, axis=0)
    return Eigenpairs(value, vector, residual)


def _of_modes(modes: Modes, num_modes: int) -> Eigenpairs:
    """All eigenvalues that have eigenvectors, and the vectors of the modes wanted."""
    order = np.argsort(-modes.eigenvalue[: modes.num_vectors], kind="stable")
    return Eigenpairs(modes.eigenvalue[order], modes.vectors(order[:num_modes]), np.zeros(len(order)))


def _lag_profile(K: Lattice) -> dict[str, tuple]:
    """Return the kernel along each axis for lags of a whole period, at a fixed resolution, to read its width from."""
    lag = np.linspace(-0.5, 0.5, 1025)
    dim = len(K.sublattice.shape)
    delta = np.zeros((dim, len(lag), dim))
    for axis in range(dim):
        delta[axis, :, axis] = lag
    function = K.kernel.ntk_lag if K.which == "ntk" else K.kernel.nngp_lag
    return {"kernel_lag": (("axis", "lag"), np.asarray(function(delta))), "lag": ("lag", lag)}


LABELS = {
    "eigenvalue": ("eigenvalue λ of K", ""),
    "eigenvalue_error": ("bound on the eigenvalue's error", ""),
    "converged": ("error within the tolerance", ""),
    "multiplicity": ("modes with this eigenvalue", ""),
    "dominant_frequency": ("dominant frequency of the eigenvector", "cycles per unit"),
    "dominant_power": ("part of the eigenvector's power at its dominant frequency", ""),
    "frequency_spread": ("spread of the eigenvector's frequencies about the dominant one", "cycles per unit"),
    "trace": ("trace of K", ""),
    "frobenius_norm": ("Frobenius norm of K", ""),
    "kernel_lag": ("kernel along an axis", ""),
    "frequency_count": ("plane waves in the band", ""),
    "rayleigh_least": ("least Rayleigh quotient of a plane wave", ""),
    "rayleigh_largest": ("largest Rayleigh quotient of a plane wave", ""),
    "rayleigh_quotient": ("mean Rayleigh quotient of plane waves", ""),
    "frequency": ("frequency", "cycles per unit"),
    "lag": ("lag", "unit"),
}
