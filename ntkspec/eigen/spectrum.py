"""The eigenvalues of an operator, each with its error bound, multiplicity and dominant frequency."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ntkspec.eigen.extreme import Eigenpairs, leading_eigenpairs
from ntkspec.grid import Placement
from ntkspec.operator import Lattice, LowRank, Operator
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.record import attributes

__all__ = ["spectrum"]

#: Up to this size a dense eigendecomposition (about a second) gives every mode.
DENSE_LIMIT = 1024


def spectrum(
    K: Operator,
    num_modes: int | None = None,
    *,
    tolerance: float = 1e-8,
    max_basis: int = 512,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> xr.Dataset:
    """Eigenvalues in descending order: K u = λ u.

    Exact by one FFT where the operator is circulant, by the singular values of its factor where it is low rank,
    by dense eigendecomposition up to n = 1,024 points, and by block Lanczos for the leading modes beyond.

    Args:
        K: a kernel operator on n points.
        num_modes: how many of the largest to return; None means all where that is exact, else 128.
        tolerance: on the residual of each pair relative to λ_max (block Lanczos).
        max_basis: vectors that block Lanczos may keep; modes that have not converged by then carry their bound.
        seed: of the starting block.
        progress: reporter.

    Returns:
        Dataset with dimension `mode`: `eigenvalue`, `eigenvalue_error` (some eigenvalue of K lies within it, and once
        `converged` it is this one; a low-rank operator adds the norm of what it leaves out), `converged` (error within
        the tolerance), `multiplicity` (modes with an eigenvalue equal within the bounds), `dominant_frequency` (mode,
        axis) in cycles per unit and `dominant_power`, the part of the eigenvector's power at ± that frequency (lattices
        only; NaN for scattered points and measurements that are no samples). Scalars `trace` and `frobenius_norm` of K.
        On a lattice also `kernel_lag` (axis, lag), and
        `rayleigh_quotient` (frequency): uᴴKu/uᴴu averaged over the plane waves u of a frequency band, which is the rate
        at which that band starts to be learned (and an eigenvalue where K is circulant).

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
    if isinstance(K, Lattice) and K.circulant:
        columns = _circulant(K)
    else:
        count = num_modes or (n if n <= DENSE_LIMIT else 128)
        if isinstance(K, LowRank):
            pairs = _of_factor(K)
        elif n <= DENSE_LIMIT or 2 * count > n:
            pairs = _dense(K)
        else:
            pairs = leading_eigenpairs(K, count, tolerance=tolerance, max_basis=max_basis, seed=seed, progress=progress)
        columns = {
            "eigenvalue": ("mode", pairs.values),
            "eigenvalue_error": ("mode", pairs.residuals + _rounding(n) * pairs.values[0] + K.approximation_error),
            **_dominant(pairs.vectors, K.placement, K.points.shape[1]),
        }
    value, error = columns["eigenvalue"][1], columns["eigenvalue_error"][1]
    dataset = xr.Dataset(
        {
            **columns,
            "converged": ("mode", error <= max(tolerance, 2 * _rounding(n)) * value[0]),
            "multiplicity": ("mode", _multiplicity(value, error)),
            "trace": float(K.trace()),
            "frobenius_norm": float(K.frobenius_norm()),
            **(_of_lags(K) if isinstance(K, Lattice) else {}),
        },
        coords={"mode": np.arange(len(value))},
        attrs={
            **attributes(operator=K),
            "num_points": n,
            "complete": int(num_modes in (None, n) and len(value) == n),
        },
    )
    _describe(dataset)
    # Only now, so that the last mode knows of a partner behind it.
    return dataset.isel(mode=slice(0, num_modes))


def _circulant(K: Lattice) -> dict[str, tuple]:
    """Every Fourier mode of the lattice once; sine and cosine of a frequency are a pair of modes."""
    shape = K.sublattice.shape
    last = shape[-1]
    half = np.asarray(K.transform)
    mirror = np.roll(np.flip(half[..., 1 : (last + 1) // 2]), 1, axis=tuple(range(len(shape) - 1)))
    value = np.concatenate([half, mirror], axis=-1).ravel()
    axes = [np.fft.fftfreq(m, d=h) for m, h in zip(shape, K.sublattice.grid.spacing, strict=True)]
    frequency = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(len(value), -1)
    # Ties in rounding order by frequency, so that pairs stand together.
    order = np.lexsort((np.linalg.norm(frequency, axis=1), -_rounded(value)))
    error = _rounding(len(value)) * value.max()
    return {
        "eigenvalue": ("mode", value[order]),
        "eigenvalue_error": ("mode", np.full(len(order), error)),
        "dominant_frequency": (("mode", "axis"), _one_sign(frequency[order])),
        "dominant_power": ("mode", np.ones(len(order))),
    }


def _rounding(num_points: int) -> float:
    """Relative rounding of transforms and factorisations of that size (Higham 2002, sections 19.3 and 24.1)."""
    return float(np.finfo(np.float64).eps * max(np.log2(num_points), 1))


def _rounded(value: np.ndarray) -> np.ndarray:
    return np.round(value / value.max(), 13)


def _one_sign(frequency: np.ndarray) -> np.ndarray:
    """±k describe one real mode: the first coordinate that is not zero is made positive."""
    first = np.argmax(frequency != 0, axis=1)
    sign = np.sign(frequency[np.arange(len(frequency)), first])
    return frequency * np.where(sign < 0, -1, 1)[:, None]


def _dense(K: Operator) -> Eigenpairs:
    matrix = np.asarray(K.to_dense())
    value, vector = np.linalg.eigh(matrix)
    value, vector = value[::-1].copy(), vector[:, ::-1].copy()
    residual = np.linalg.norm(matrix @ vector - vector * value, axis=0)
    return Eigenpairs(value, vector, residual)


def _of_factor(K: LowRank) -> Eigenpairs:
    """The eigenpairs of F Fᵀ that are not zero: squared singular values and left singular vectors of F."""
    Q, R = np.linalg.qr(np.asarray(K.factor))
    U, singular, _ = np.linalg.svd(R)
    return Eigenpairs(singular**2, Q @ U, np.zeros(len(singular)))


def _dominant(vectors: np.ndarray, placement: Placement | None, dim: int) -> dict[str, tuple]:
    num_modes = vectors.shape[1]
    frequency, power = np.full((num_modes, dim), np.nan), np.full(num_modes, np.nan)
    if placement is not None:
        grid = placement.grid
        axes = [np.fft.fftfreq(m, d=h) for m, h in zip(grid.shape, grid.spacing, strict=True)]
        for mode in range(num_modes):
            density = np.abs(np.fft.fftn(placement.extend(vectors[:, mode]))) ** 2
            peak = np.unravel_index(np.argmax(density), grid.shape)
            mirror = tuple(-i % m for i, m in zip(peak, grid.shape, strict=True))
            frequency[mode] = [axis[i] for axis, i in zip(axes, peak, strict=True)]
            power[mode] = (density[peak] + (density[mirror] if mirror != peak else 0)) / density.sum()
        frequency = _one_sign(frequency)
    return {"dominant_frequency": (("mode", "axis"), frequency), "dominant_power": ("mode", power)}


def _multiplicity(value: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The size of each run of neighbours whose bounds overlap."""
    resolution = np.maximum(error, 1e-13 * abs(value).max())
    parted = value[:-1] - value[1:] > resolution[:-1] + resolution[1:]
    run = np.concatenate([[0], np.cumsum(parted)])
    return np.bincount(run)[run]


def _of_lags(K: Lattice) -> dict[str, tuple]:
    """What the lag function alone tells: its profile along each axis, and the rate of each frequency.

    The Rayleigh quotient of the plane wave u_k = e^{2πik·x} on the points is Σ_lag count(lag) k(lag) e^{−2πik·lag} / n,
    count(lag) the number of pairs of points so far apart: one FFT of the lags, folded onto the lattice.
    """
    sublattice = K.sublattice
    pairs = np.asarray(K.lag_counts() * K.lags())
    signed = [np.where(np.arange(m) <= m // 2, np.arange(m), np.arange(m) - m) for m in sublattice.torus]
    folded = np.zeros(sublattice.shape)
    place = np.ix_(*(lag % m for lag, m in zip(signed, sublattice.shape, strict=True)))
    np.add.at(folded, place, pairs)
    quotient = np.fft.fftn(folded).real.ravel() / K.num_points
    bins, frequency = sublattice.grid.frequency_bins()
    mean = np.bincount(bins.ravel(), weights=quotient) / np.bincount(bins.ravel())
    return {
        **_lag_profile(K),
        "rayleigh_quotient": ("frequency", mean),
        "frequency": ("frequency", frequency),
    }


def _lag_profile(K: Lattice) -> dict[str, tuple]:
    """The kernel along each axis for lags of a whole period, at a fixed resolution (the width is read from it)."""
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
    "trace": ("trace of K", ""),
    "frobenius_norm": ("Frobenius norm of K", ""),
    "kernel_lag": ("kernel along an axis", ""),
    "rayleigh_quotient": ("mean Rayleigh quotient of plane waves", ""),
    "frequency": ("frequency", "cycles per unit"),
    "lag": ("lag", "unit"),
}


def _describe(dataset: xr.Dataset) -> None:
    for name, (long_name, units) in LABELS.items():
        if name in dataset.variables:
            dataset[name].attrs.update(long_name=long_name, units=units)
