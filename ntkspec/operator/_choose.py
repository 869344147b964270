"""Which form an operator should take, why, and how much memory it needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ntkspec.checks import check_mask, check_points, check_shape
from ntkspec.grid import Grid, place
from ntkspec.kernel._composed import ComposedKernel, Which, check_composed, check_which
from ntkspec.limits import current
from ntkspec.operator._base import Operator
from ntkspec.operator._dense import dense
from ntkspec.operator._lattice import lattice, whole
from ntkspec.operator._low_rank import low_rank
from ntkspec.operator._scattered._build import check_fast, scattered
from ntkspec.operator._scattered._search import Search

__all__ = ["Choice", "Form", "choose"]

Name = Literal["circulant lattice", "lattice", "dense", "scattered", "fast scattered", "low rank"]

#: Columns of a low-rank factor that its memory is predicted for: the rank itself is known only once it is built.
RANK = 1000

#: Bytes a point that scattered products need beside the points and their features, and in all.
PER_POINT, SCATTERED = 64, 2**24


@dataclass(frozen=True)
class Form:
    """One form an operator may take, why or why not, and how to make it.

    Building it and multiplying by it take at most so many bytes; infinitely many where it is not possible.
    """

    name: Name
    num_bytes: float
    why: str
    make: Callable[[], Operator] | None = field(default=None, repr=False, compare=False)

    @property
    def possible(self) -> bool:
        """Whether it exists for this kernel and tolerance."""
        return self.num_bytes < math.inf

    def __str__(self) -> str:
        return f"{self.name}: {_bytes(self.num_bytes)}; {self.why}"


@dataclass(frozen=True)
class Choice:
    """The form an operator takes; `print` it to read why, `build()` it to have it.

    Attributes:
        form: name of the form.
        reason: why this one.
        num_points: number of points n.
        num_bytes: predicted memory.
        others: forms that were passed over, best first.
    """

    form: Name
    reason: str
    num_points: int
    num_bytes: float
    others: tuple[Form, ...]
    make: Callable[[], Operator] = field(repr=False, compare=False)

    def build(self) -> Operator:
        """Build the operator in this form."""
        return self.make()

    def __str__(self) -> str:
        head = f"{self.form} operator on {self.num_points:,} points: {self.reason}"
        return "\n".join([head, f"predicted: {_bytes(self.num_bytes)}", *(f"not {other}" for other in self.others)])


def choose(
    k: ComposedKernel,
    points: ArrayLike | tuple[int, ...],
    *,
    mask: ArrayLike | None = None,
    tol: float | None = None,
    which: Which = "ntk",
) -> Choice:
    """Which form the operator of a kernel on points should take, and how much memory it needs.

    The first that is possible and fits in memory: FFTs for a stationary kernel on a lattice; a matrix on up to 4,096
    points; where `tol` allows an error, a non-uniform FFT (stationary kernels) or a low-rank factor (a network without
    a mapping); a matrix; a matrix computed as it is multiplied.

    Args:
        k: a composed kernel.
        points: coordinates, shape (n, d); or the shape of a lattice with point i at i/shape, a tuple of d sizes.
        mask: with a lattice shape, the points kept, boolean, shape `points`.
        tol: error that is allowed, on the operator, relative to λ_max (low rank: relative to the trace).
        which: "ntk" or "nngp".

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
    matrix = Form("dense", 10.0 * n * n, "a matrix needs no structure, only n² memory", lambda: dense(k, x(), which))
    approximate = [
        _fast_form(k, n, x if shape is None else None, tol, which),
        _low_rank_form(k, n, x, tol, which),
    ]
    forms = [matrix, *approximate] if n <= current().exact_points else [*approximate, matrix]
    if shape is not None:
        forms.insert(0, _lattice_form(k, shape, kept, which))
    return _first([*forms, _scattered_form(k, n, x, tol, which)], n)


def _first(forms: list[Form], n: int) -> Choice:
    available = current().available
    best = next((form for form in forms if form.num_bytes <= available), None)
    if best is None or best.make is None:
        what = f"no form of an operator on {n:,} points fits in {_bytes(available)} of memory available"
        raise ValueError(f"{what} ({'; '.join(map(str, forms))}); take fewer points, or allow an error by tol")
    others = tuple(
        Form(form.name, math.inf, f"{_bytes(form.num_bytes)} do not fit in memory")
        if available < form.num_bytes < math.inf
        else form
        for form in forms
        if form is not best
    )
    return Choice(best.name, best.why, n, best.num_bytes, others, best.make)


def _read(
    k: ComposedKernel, points: ArrayLike | tuple[int, ...], mask: ArrayLike | None
) -> tuple[tuple[int, ...] | None, np.ndarray | None, Callable[[], Any]]:
    """Return the lattice shape (None if there is none), the mask (None if all are kept), and the points if needed."""
    if isinstance(points, tuple) and all(isinstance(size, int | np.integer) for size in points):
        sizes = check_shape(points, k.dim, name="points")
        kept = None if mask is None else check_mask(mask, sizes)
        return sizes, kept, lambda: Grid.unit(sizes).points()[slice(None) if kept is None else kept.ravel()]
    if mask is not None:
        raise ValueError("a mask goes with a lattice shape, as choose(k, (64, 64), mask=...); else leave points out")
    x = np.asarray(check_points(points, k.dim, least=1))
    if k.stationary and not ((x >= 0) & (x < 1)).all():
        rescale = "Rescale them, (x − min)/(max − min) · (1 − 1/n), and the mapping's frequencies with them"
        same = "This kernel has period 1: a point and its periodic image (x mod 1) are the same to it"
        what = f"points reach from {x.min():.4g} to {x.max():.4g}; expected coordinates in [0, 1)^d"
        raise ValueError(f"{what}. {same if k.periodic else rescale}")
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


def _lattice_form(k: ComposedKernel, shape: tuple[int, ...], kept: np.ndarray | None, which: Which) -> Form:
    if not k.stationary:
        why = "the kernel is no function of the lag (no mapping, or one beside raw coordinates), so there is no FFT"
        return Form("lattice", math.inf, why)
    torus = whole(shape, k.periodic).torus
    name: Name = "lattice"
    why = f"the kernel is stationary and the points lie on a lattice: products are FFTs on a torus {torus}"
    if kept is None and torus == shape:
        name = "circulant lattice"
        why = "the kernel is stationary with period 1 and the lattice whole: the FFT gives its eigenvalues exactly"
    return Form(name, 48.0 * math.prod(torus), why, lambda: lattice(k, shape, kept, which))


def _scattered_form(k: ComposedKernel, n: int, x: Callable[[], Any], tol: float | None, which: Which) -> Form:
    features = k.mapping.num_features if k.mapping.finite else 0
    why = "the matrix is computed block by block as it is multiplied, exactly"
    why += " (an approximate, quicker form needs a tol)" if tol is None else ""
    num_bytes = SCATTERED + (PER_POINT + 8.0 * features) * n
    return Form("scattered", num_bytes, why, lambda: scattered(k, x(), which=which))


def _fast_form(k: ComposedKernel, n: int, x: Callable[[], Any] | None, tol: float | None, which: Which) -> Form:
    impossible = partial(Form, "fast scattered", math.inf)
    if tol is None:
        return impossible("it is approximate, and no tolerance was given")
    if x is None:
        return impossible("points on a lattice take FFTs without an approximation, where there are any")
    if n <= current().exact_points:
        return impossible("on so few points a matrix is quick")
    try:
        check_fast(k, x(), tol)
    except ValueError as error:
        return impossible(str(error))
    search = Search(k, x(), tol, which)
    cutoff = search.foretell()
    if math.isinf(cutoff):
        return impossible("the kernel's Fourier series falls too slowly for the tolerance")
    needed = f"to {tol:g} of λ_max takes about {cutoff:,.3g} frequencies an axis (a cusp needs many)"
    num_bytes = PER_POINT * n + search.num_bytes(cutoff)
    if math.isinf(num_bytes):
        return impossible(f"a Fourier series {needed}, more than can be searched")
    why = f"products by non-uniform FFT: a series {needed}"
    return Form("fast scattered", num_bytes, why, lambda: scattered(k, x(), tol, which=which))


def _low_rank_form(k: ComposedKernel, n: int, x: Callable[[], Any], tol: float | None, which: Which) -> Form:
    if tol is None:
        return Form("low rank", math.inf, "it is approximate, and no tolerance was given")
    if k.stationary:
        return Form("low rank", math.inf, "a stationary kernel has quicker forms")
    rank = min(n, RANK)
    why = (
        f"the kernel has no mapping, so a factor represents it to {tol:g} of the trace "
        f"(predicted for a rank of {rank:,}; a kernel with a cusp may need more)"
    )
    return Form("low rank", 24.0 * n * rank, why, lambda: low_rank(k, x(), tol, which))


def _bytes(number: float) -> str:
    if math.isinf(number):
        return "not possible"
    if number < 2**20:
        return f"{number / 2**10:.3g} KiB"
    return f"{number / 2**20:.3g} MiB" if number < 2**30 else f"{number / 2**30:.3g} GiB"
