"""Which form an operator should take, why, and what it will cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_points
from ntkspec.grid import Grid, place
from ntkspec.kernel._composed import ComposedKernel, Which, check_composed, check_which
from ntkspec.operator._base import Operator
from ntkspec.operator._dense import dense
from ntkspec.operator._lattice import Sublattice, lattice, whole
from ntkspec.operator._low_rank import low_rank
from ntkspec.operator._scattered import LEAST_TOLERANCE, scattered
from ntkspec.operator._search import FEW, LAGS, MAX_TABLE, SERIES_SHARE, SMALLEST_TABLE, beyond
from ntkspec.operator._series import kernel_series, period_of
from ntkspec.operator._sieve import sieve
from ntkspec.operator._streamed import BLOCK

__all__ = ["Choice", "Form", "choose"]

Name = Literal["circulant lattice", "lattice", "dense", "scattered", "fast scattered", "low rank"]

#: Columns of a low-rank factor that its prediction is made for: the rank itself is known only once it is built.
RANK = 1000

#: Time to reach one cell around a scattered point, over that to reach the next entry of a matrix.
SPREAD = 4

#: Bytes a point that scattered products need beside the points and their features.
PER_POINT = 64


@dataclass(frozen=True)
class Form:
    """One form an operator may take.

    Attributes:
        name: of the form.
        num_bytes: memory that building it and multiplying by it take at most; NaN where the form is not possible.
        seconds: of one product on this machine; NaN where the form is not possible.
        possible: whether it can be built here.
        why: it can or cannot, or what it costs.
    """

    name: Name
    num_bytes: float
    seconds: float
    possible: bool
    why: str

    def __str__(self) -> str:
        cost = f"{_bytes(self.num_bytes)}, {_seconds(self.seconds)}" if self.possible else "not possible"
        return f"{self.name}: {cost}; {self.why}"


@dataclass(frozen=True)
class Choice:
    """The form an operator takes; `print` it to read why, `build()` it to have it.

    Attributes:
        form: the name of the form.
        reason: why this one.
        num_points: n.
        num_bytes: predicted memory.
        seconds: predicted time of one product on this machine.
        others: the forms that were passed over.
    """

    form: Name
    reason: str
    num_points: int
    num_bytes: float
    seconds: float
    others: tuple[Form, ...]
    make: Callable[[], Operator] = field(repr=False, compare=False)

    def build(self) -> Operator:
        """Return the operator in this form."""
        return self.make()

    def __str__(self) -> str:
        head = f"{self.form} operator on {self.num_points:,} points: {self.reason}"
        cost = f"predicted: {_bytes(self.num_bytes)}, {_seconds(self.seconds)}"
        return "\n".join([head, cost, *(f"not {other}" for other in self.others)])


def choose(
    k: ComposedKernel,
    points: ArrayLike | tuple[int, ...],
    *,
    mask: ArrayLike | None = None,
    tol: float | None = None,
    which: Which = "ntk",
) -> Choice:
    """Which form the operator of a kernel on points should take, and what it will cost.

    A stationary kernel on a lattice takes FFTs. On other points the form with the quickest product that fits in memory
    is taken: a matrix, a matrix computed as it is multiplied, or where `tol` allows an error, a non-uniform FFT
    (stationary kernels) or a low-rank factor (a network without a mapping).

    Args:
        k: a composed kernel.
        points: coordinates, shape (n, d); or the shape of a lattice with point i at i/shape, a tuple of d sizes.
        mask: with a lattice shape, the points kept, boolean, shape `points`.
        tol: the error that is allowed, on the operator, relative to λ_max (low rank: relative to the trace).
        which: "ntk" or "nngp".

    Returns:
        The choice. Times are those of a small product measured here and now (once in a process, a fraction of
        a second), scaled by the operations of the form: good to a factor of a few.

    Raises:
        ValueError: if the points have the wrong shape, lie outside [0, 1)^d where the kernel is stationary, the mask
            has another shape, or no form fits in memory.
        TypeError: if the kernel is a network without a mapping.

    Example:
        >>> import ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.gaussian(2, 64, scale=3.0), ns.kernel.MLP(depth=3))
        >>> choice = ns.operator.choose(k, (512, 512))
        >>> choice.form, choice.num_points, choice.num_bytes < 2**28
        ('lattice', 262144, True)
        >>> choice.build().shape
        (262144, 262144)
    """
    check_composed(k)
    check_which(which)
    if tol is not None and not 0 < tol < 1:
        raise ValueError(f"tol={tol}; expected between 0 and 1, or None for an exact form")
    shape, kept, x = _read(k, points, mask)
    n = int(kept.sum()) if kept is not None else math.prod(shape) if shape is not None else len(x())
    builders: dict[Name, Callable[[], Operator]] = {
        "dense": lambda: dense(k, x(), which),
        "scattered": lambda: scattered(k, x(), which=which),
        "fast scattered": lambda: scattered(k, x(), tol, which=which),
        "low rank": lambda: low_rank(k, x(), tol if tol is not None else 1, which),
    }
    forms = [
        _dense_form(n),
        *_scattered_forms(k, n, None if shape is not None else x(), tol, which),
        _low_rank_form(k, n, tol),
    ]
    if shape is not None:
        on_lattice = _lattice_form(k, shape, kept)
        forms.insert(0, on_lattice)
        builders[on_lattice.name] = lambda: lattice(k, shape, kept, which)
    return _best(forms, builders, n)


def _best(forms: list[Form], builders: dict[Name, Callable[[], Operator]], n: int) -> Choice:
    available = psutil.virtual_memory().available
    fitting = [form for form in forms if form.possible and form.num_bytes <= available]
    if not fitting:
        listed = "; ".join(str(form) for form in forms)
        raise ValueError(
            f"no form of an operator on {n:,} points fits in {_bytes(available)} of memory available ({listed}); "
            "take fewer points, or allow an error by tol"
        )
    # A lattice knows the whole field around its points, which a matrix that is quicker on a few points does not.
    best = min(fitting, key=lambda form: ("lattice" not in form.name, form.seconds))
    others = tuple(
        Form(form.name, form.num_bytes, form.seconds, False, f"{_bytes(form.num_bytes)} do not fit in memory")
        if form.possible and form not in fitting
        else form
        for form in forms
        if form is not best
    )
    return Choice(best.name, best.why, n, best.num_bytes, best.seconds, others, builders[best.name])


def _read(
    k: ComposedKernel, points: ArrayLike | tuple[int, ...], mask: ArrayLike | None
) -> tuple[tuple[int, ...] | None, np.ndarray | None, Callable[[], Any]]:
    """Return the lattice shape (None if there is none), the mask (None if all are kept), and the points if needed."""
    if isinstance(points, tuple) and all(isinstance(size, int | np.integer) for size in points):
        sizes = tuple(int(size) for size in points)
        if len(sizes) != k.dim or min(sizes) < 1:
            raise ValueError(
                f"points={points}; expected {k.dim} positive sizes (or an array of coordinates (n, {k.dim}))"
            )
        kept = None if mask is None else np.asarray(mask)
        if kept is not None and (kept.shape != sizes or kept.dtype != np.bool_ or not kept.any()):
            raise ValueError(
                f"the mask has shape {kept.shape}, type {kept.dtype}; expected booleans {sizes} with a True among them"
            )
        return sizes, kept, lambda: Grid.unit(sizes).points()[slice(None) if kept is None else kept.ravel()]
    if mask is not None:
        raise ValueError(
            "a mask goes with a lattice shape, as in choose(k, (64, 64), mask=...); leave points out instead"
        )
    x = np.asarray(check_points(points, k.dim))
    if not len(x) or not np.isfinite(x).all():
        raise ValueError(f"points have shape {x.shape} and must be finite; expected at least one row of numbers")
    if k.stationary and not ((x >= 0) & (x < 1)).all():
        raise ValueError(
            f"points reach from {x.min():.4g} to {x.max():.4g}; expected coordinates in [0, 1)^d. "
            + (
                "This kernel has period 1: a point and its periodic image (x mod 1) are the same to it"
                if k.periodic
                else "Rescale them, (x − min)/(max − min) · (1 − 1/n), and the mapping's frequencies with them"
            )
        )
    shape, kept = _unit_lattice(x) if k.stationary else (None, None)
    return shape, kept, lambda: x


def _unit_lattice(x: np.ndarray) -> tuple[tuple[int, ...] | None, np.ndarray | None]:
    """Return the lattice i/shape that carries the points in row-major order, and their mask; (None, None) if none."""
    placement = place(x)
    if placement is None:
        return None, None
    grid = placement.grid
    shape = tuple(int(np.rint(1 / h)) if n > 1 else 1 for n, h in zip(grid.shape, grid.spacing, strict=True))
    position = x * shape
    index = np.rint(position).astype(np.int64)
    if np.abs(position - index).max() > 1e-9 or (index >= shape).any() or math.prod(shape) > 64 * len(x):
        return None, None
    flat = np.ravel_multi_index(tuple(index.T), shape)
    if (np.diff(flat) <= 0).any():
        return None, None
    if len(flat) == math.prod(shape):
        return shape, None
    kept = np.zeros(math.prod(shape), dtype=bool)
    kept[flat] = True
    return shape, kept.reshape(shape)


def _lattice_form(k: ComposedKernel, shape: tuple[int, ...], kept: np.ndarray | None) -> Form:
    if not k.stationary:
        why = "the kernel is no function of the lag (no mapping, or one beside raw coordinates), so there is no FFT"
        return Form("lattice", math.nan, math.nan, False, why)
    geometry: Sublattice = whole(shape, k.periodic)
    size = math.prod(geometry.torus)
    circulant = kept is None and geometry.torus == shape
    why = (
        "the kernel is stationary with period 1 and the lattice whole: the FFT gives its eigenvalues exactly"
        if circulant
        else f"the kernel is stationary and the points lie on a lattice: products are FFTs on a torus {geometry.torus}"
    )
    seconds = _rates().fft * size * math.log2(max(size, 2))
    return Form("circulant lattice" if circulant else "lattice", 6.0 * 8 * size, seconds, True, why)


def _dense_form(n: int) -> Form:
    why = "a matrix needs no structure, only n² memory"
    return Form("dense", 1.25 * 8 * n * n, _rates().dense * n * n, True, why)


def _scattered_forms(k: ComposedKernel, n: int, x: np.ndarray | None, tol: float | None, which: Which) -> list[Form]:
    features = k.mapping.num_features if k.mapping.finite else 0
    num_bytes = PER_POINT * n + 8.0 * n * features + 8.0 * 8 * BLOCK**2
    layers = getattr(k.network, "depth", 3) + 1
    why = "the matrix is computed block by block as it is multiplied, exactly"
    why += " (an approximate, quicker form needs a tol)" if tol is None else ""
    return [
        Form("scattered", num_bytes, _rates().entry * layers * n * n / 2, True, why),
        _fast_scattered_form(k, n, x, tol, which),
    ]


def _fast_scattered_form(k: ComposedKernel, n: int, x: np.ndarray | None, tol: float | None, which: Which) -> Form:
    impossible = partial(Form, "fast scattered", math.nan, math.nan, False)
    if not k.stationary:
        return impossible("the kernel is no function of the lag, so there is no FFT")
    if tol is None:
        return impossible("it is approximate, and no tolerance was given")
    if k.dim > 3:
        return impossible(f"non-uniform FFTs reach 3 coordinates, and the points have {k.dim}")
    if tol < LEAST_TOLERANCE:
        return impossible(f"the transforms round at {LEAST_TOLERANCE:g}, above the tolerance")
    if n <= FEW:
        return impossible(f"up to {FEW} points exact entries are quicker than any transform")
    if x is None:
        return impossible("points on a lattice take FFTs without an approximation")
    cutoff = _cutoff(k, x, tol, which)
    if math.isinf(cutoff):
        return impossible("the kernel's Fourier series falls too slowly for the tolerance")
    needed = f"to {tol:g} of λ_max takes about {cutoff:,.3g} frequencies an axis (a cusp needs many)"
    # A table shows four times the frequencies that it vouches for; its sizes are powers of two.
    exponent = max(math.ceil(math.log2(4 * cutoff)), int(math.log2(SMALLEST_TABLE)))
    if exponent * k.dim > math.log2(MAX_TABLE):
        return impossible(f"a Fourier series {needed}, more than can be searched")
    # Two transforms run on a complex grid twice as fine as the modes; each point touches (digits + 2)^d cells of it.
    grid = (2 * (2 * cutoff + 1)) ** k.dim
    spread = 2 * SPREAD * (2 - math.log10(tol)) ** k.dim * _rates().dense * n
    seconds = spread + 2 * _rates().fft * grid * math.log2(grid)
    num_bytes = PER_POINT * n + 80.0 * 2 ** (exponent * k.dim)
    return Form("fast scattered", num_bytes, seconds, True, f"products by non-uniform FFT: a series {needed}")


def _cutoff(k: ComposedKernel, x: np.ndarray, tol: float, which: Which) -> float:
    """Frequencies an axis of the series that is long enough, about; infinite where none is.

    From the fewest lags that show it, or from the decay that the last table shows; λ_max is taken as n max k̂.
    """
    period, size = period_of(k, max(float(np.max(np.ptp(x, axis=0))), 1e-6)), SMALLEST_TABLE
    bound = sieve(x / period)
    while True:
        series = kernel_series(k, period, size, which)
        allowed = SERIES_SHARE * tol * len(x) * float(np.abs(series.coefficients).max())
        # Quarters of an octave, beyond all that can be searched.
        cutoffs = 2.0 ** np.arange(0, math.log2(MAX_TABLE), 0.25)
        enough = [cutoff for cutoff in cutoffs if beyond(series, bound, cutoff) <= allowed] if series.summable else []
        found = float(enough[0]) if enough else math.inf
        # Continued too early, a series still falls as its mapping's frequencies do, and not as its cusp.
        if found <= size // 4 or (2 * size) ** k.dim > LAGS:
            return found
        size *= 2


def _low_rank_form(k: ComposedKernel, n: int, tol: float | None) -> Form:
    if tol is None or k.stationary:
        why = (
            "it is approximate, and no tolerance was given" if tol is None else "a stationary kernel has quicker forms"
        )
        return Form("low rank", math.nan, math.nan, False, why)
    rank = min(n, RANK)
    why = (
        f"the kernel has no mapping, so a factor stands for it to {tol:g} of the trace "
        f"(predicted for a rank of {rank:,}; a kernel with a cusp may need more)"
    )
    return Form("low rank", 8.0 * 3 * n * rank, 2 * _rates().dense * n * rank, True, why)


@dataclass(frozen=True)
class Rates:
    """Seconds on this machine of a unit of work.

    Attributes:
        fft: a padded product by FFT, over N log₂ N of its torus.
        dense: a matrix-vector product, an entry.
        entry: one layer of a kernel, an entry.
    """

    fft: float
    dense: float
    entry: float


@cache
def _rates() -> Rates:
    """Measured once: three small products, the best of three runs each."""
    side, n = 512, 2048
    image = jnp.ones((side, side))
    matrix, vector = jnp.ones((n, n)), jnp.ones(n)
    versine = jnp.full(2**18, 0.3)
    fft = _best_time(partial(jax.jit(_padded), image, image))
    product = _best_time(partial(jax.jit(jnp.matmul), matrix, vector))
    layer = _best_time(partial(jax.jit(_layer), versine))
    size = side * side
    return Rates(fft / (size * math.log2(size)), product / n**2, layer / versine.size)


def _padded(table: Array, image: Array) -> Array:
    """Return what a lattice product does: half of the torus is padding."""
    half = image.shape[0] // 2
    transform = jnp.fft.rfft2(image[:half, :half], s=image.shape)
    return jnp.fft.irfft2(table[:, : half + 1] * transform, s=image.shape)[:half, :half]


def _layer(versine: Array) -> Array:
    """Return the operations of a ReLU layer."""
    theta = 2 * jnp.arcsin(jnp.sqrt(versine / 2))
    return (jnp.sqrt(versine * (2 - versine)) + (jnp.pi - theta) * (1 - versine)) / jnp.pi


def _best_time(call: Callable[[], Array]) -> float:
    call().block_until_ready()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        call().block_until_ready()
        times.append(time.perf_counter() - start)
    return min(times)


def _bytes(number: float) -> str:
    if number < 2**20:
        return f"{number / 2**10:.3g} KiB"
    return f"{number / 2**20:.3g} MiB" if number < 2**30 else f"{number / 2**30:.3g} GiB"


def _seconds(number: float) -> str:
    if number < 1e-3:
        return f"{number * 1e6:.2g} µs a product"
    return f"{number * 1e3:.2g} ms a product" if number < 1 else f"{number:,.2g} s a product"
