"""The shortest Fourier series of a kernel that meets a tolerance on given points, and what its error is.

The search is bounded: no table has more lags than `limits.table`, and each table is followed by a look ahead. Where
the decay that it shows puts the tolerance out of reach of the largest table the search ends there, and where so many
frequencies would make a product more expensive than one of exact entries, those are taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Integer

from ntkspec.kernel._composed import ComposedKernel, Which
from ntkspec.limits import current, refuse_if_too_large
from ntkspec.operator._norm import positive_start
from ntkspec.operator._scattered._bound import WaveBound, wave_bound
from ntkspec.operator._scattered._exact import Streamed, streamed
from ntkspec.operator._scattered._fourier import Nonuniform, transforms
from ntkspec.operator._scattered._series import Series, kernel_series, period_of
from ntkspec.progress import NO_PROGRESS, Progress
from ntkspec.recurrence import begin, largest_ritz, recur_only

__all__ = ["Search", "beyond", "left_out"]

#: Lags of the first table on an axis. The largest (`limits.table`) takes 1.3 GiB, and about a minute on two cores.
SMALLEST_TABLE = 64
#: Part of the largest table up to which tables are cheap, and a look ahead is not yet taken for the truth.
CHEAP = 2**-8
#: Points up to which exact entries take less than the planning of two transforms, a millisecond.
FEW = 128
#: Of the tolerance: what each transform may use, and what is left to the series.
TRANSFORM_SHARE, SERIES_SHARE = 0.02, 0.9
#: Points whose pairs check the series, and rows that check the products.
PAIRS_OF, ROWS = 512, 32
#: Products that estimate λ_max from below.
LANCZOS_STEPS = 8
#: Columns of the checked rows at a time.
COLUMNS = 8192


@dataclass(frozen=True)
class Norm:
    """Bounds on λ_max: `below` is 0 where nothing is known."""

    below: float
    above: float

    @property
    def scale(self) -> float:
        """What an error is relative to."""
        return self.below or self.above


@dataclass(frozen=True)
class Search:
    """Tables of growing size, until one shows enough of the decay for a tolerance relative to λ_max."""

    kernel: ComposedKernel
    points: Array
    tolerance: float
    which: Which

    def run(self, progress: Progress = NO_PROGRESS) -> Nonuniform | Streamed:
        """Build the operator: of a series, or of exact entries where these are quicker than a long enough series."""
        if self.points.shape[0] <= min(FEW, current().direct_points):
            return self._exact(progress)
        period, bound = self._torus()
        most = current().table
        # λ_max is known from products alone; until there are any, it is as large as the diagonal allows.
        norm = Norm(0.0, self.points.shape[0] * self._origin)
        best, size, foretold = np.inf, SMALLEST_TABLE, np.inf
        with progress.start("Fourier series", None, "tables") as stage:
            while size**self.kernel.dim <= most:
                # The table with its margins, its transform and their magnitudes.
                what = f"{self._out_of_reach(best)}. A table of {size}^{self.kernel.dim} lags"
                refuse_if_too_large(80 * size**self.kernel.dim, what, "take a larger tol")
                series = kernel_series(self.kernel, period, size, self.which)
                # No cutoff that this table can vouch for is enough, nor is one that lies ahead and falls short.
                cutoff, least = size / 4, 0.0
                if series.summable:
                    K, norm, reached = self._shortest(series, bound, norm)
                    best = min(best, reached)
                    stage.advance(lags=size, error=best)
                    if K is not None:
                        return K
                    # A look ahead is taken for the truth once the last one has not been too dark about this table, and
                    # not before the table holds four times the mapping's own frequencies.
                    believed = reached * norm.scale >= foretold / 1.5 and size >= 16 * self._highest * period
                    cutoffs, errors = _ahead(series, bound, reached)
                    foretold = float(errors[4]) * norm.scale if len(errors) > 4 else np.inf
                    if believed and size**self.kernel.dim >= CHEAP * most:
                        cutoff, least = float([*cutoffs[errors <= self.tolerance], cutoffs[-1]][0]), float(errors[-1])
                if self._slower_than_exact(cutoff):
                    return self._exact(progress)
                if least > 2 * self.tolerance:
                    # The fall may slow down somewhat yet, as it does where the mapping's last frequencies end.
                    raise ValueError(self._out_of_reach(2 * least))
                size *= 2
        raise ValueError(self._out_of_reach(best))

    def foretell(self) -> float:
        """About how many frequencies an axis the series needs, from cheap tables; infinite if none will do.

        From the fewest lags that show it, or from the decay that the last table shows; λ_max is taken as n max k̂.
        """
        (period, bound), size, most = self._torus(), SMALLEST_TABLE, current().table
        while True:
            series = kernel_series(self.kernel, period, size, self.which)
            largest = float(np.abs(series.coefficients).max())
            allowed = SERIES_SHARE * self.tolerance * len(self.points) * largest
            # Quarters of an octave, beyond all that can be searched.
            cutoffs = 2.0 ** np.arange(0, np.log2(most), 0.25)
            enough = (c for c in cutoffs if beyond(series, bound, c) <= allowed) if series.summable else iter(())
            cutoff = float(next(enough, np.inf))
            # Continued too early, a series still falls as its mapping's frequencies do, and not as its cusp.
            if cutoff <= size // 4 or (2 * size) ** self.kernel.dim > CHEAP * most:
                return cutoff
            size *= 2

    def num_bytes(self, cutoff: float) -> float:
        """Bytes of the search for a series of so many frequencies an axis; infinite if no table shows them."""
        # A table shows four times the frequencies that it vouches for; its sizes are powers of two.
        lags = float(max(2 ** np.ceil(np.log2(4 * cutoff)), SMALLEST_TABLE)) ** self.kernel.dim
        return 80 * lags if lags <= current().table else np.inf

    def _torus(self) -> tuple[float, WaveBound]:
        """Return the period, and the bound for the points on it."""
        position = np.asarray(self.points)
        # Points that coincide still need a torus to lie on.
        period = period_of(self.kernel, max(float(np.max(np.ptp(position, axis=0))), 1e-6))
        return period, wave_bound(position / period)

    def _exact(self, progress: Progress) -> Streamed:
        with progress.start("exact entries, quicker than a Fourier series", 1, "form") as stage:
            stage.advance(error=0.0)
        return streamed(self.kernel, self.points, self.which)

    def _slower_than_exact(self, cutoff: float) -> bool:
        """Whether a product by so many frequencies an axis takes longer than one of exact entries, in layer entries.

        Each point touches (digits + 2)^d cells of a grid twice as fine as the modes in each of two transforms; a
        cell costs about as much as a layer of the kernel at one entry, and so do two levels of an FFT.
        """
        n, dim = self.points.shape
        grid = (4 * cutoff) ** dim
        fast = 2 * (n * (2 - np.log10(self.tolerance)) ** dim + grid * np.log2(grid) / 2)
        layers = getattr(self.kernel.network, "depth", 3) + 1
        return n <= current().direct_points and fast > layers * n * n / 2

    @property
    def _origin(self) -> float:
        """k(0)."""
        return float(self.kernel.lag_grid((np.zeros(1),) * self.kernel.dim, self.which).ravel()[0])

    @property
    def _highest(self) -> float:
        """The highest frequency of the mapping on an axis, in cycles per unit; 0 where it is no list of them."""
        return float(np.max(np.abs(getattr(self.kernel.mapping, "frequencies", 0.0)), initial=0.0))

    def _out_of_reach(self, best: float) -> str:
        reached = f"the smallest error within reach is about {best:.2g}" if best < 1 else "no error is within reach"
        return (
            f"tol={self.tolerance:g} is out of reach of a Fourier series for this kernel on {self.points.shape[0]:,} "
            f"points: {reached} (of a cusp, as ReLU has, or of high frequencies a series is long); take a larger tol, "
            "or operator.scattered(k, x) without tol, which is exact"
        )

    def _shortest(self, series: Series, bound: WaveBound, norm: Norm) -> tuple[Nonuniform | None, Norm, float]:
        """Return the operator of the shortest series that this table can vouch for, or None; λ_max; the least error."""
        cutoffs = np.unique(np.round(np.geomspace(1, series.size // 4, 64)).astype(int))
        absolute = np.array([left_out(series, bound, int(cutoff)) for cutoff in cutoffs]) + self._unseen(series)
        share = SERIES_SHARE * self.tolerance
        while True:
            enough = np.flatnonzero(absolute <= share * norm.scale)
            if not len(enough):
                return None, norm, float(absolute[-1] / norm.scale) / SERIES_SHARE
            error, K = float(absolute[enough[0]]), self._operator(series, int(cutoffs[enough[0]]))
            if not norm.below:
                theta = _largest(K)
                # Known well enough, or at least no longer taken for more than it is.
                norm = Norm(theta - error if error <= theta / 8 else 0.0, min(theta + error, norm.above / 2))
                continue
            measured = self._measured(K) / norm.below
            stated = max(error / norm.below + 2 * K.transform_tolerance, measured)
            return (replace(K, error=stated, norm=norm.below) if stated <= self.tolerance else None), norm, stated

    def _operator(self, series: Series, cutoff: int) -> Nonuniform:
        """Return a series cut off, its error not yet known."""
        kept = series.within(cutoff)
        return Nonuniform(
            kernel=self.kernel,
            coordinates=self.points,
            coefficients=jnp.asarray(kept),
            remainder=jnp.asarray(self._origin - float(np.sum(kept))),
            error=np.inf,
            norm=np.nan,
            period=series.period,
            transform_tolerance=max(TRANSFORM_SHARE * self.tolerance, 1e-14),
            which=self.which,
        )

    def _measured(self, K: Nonuniform) -> float:
        """‖(K − fast form) v‖/‖v‖ from exact entries of random rows, the larger of a smooth v and a rough one."""
        n = K.num_points
        rng = np.random.default_rng(0)
        probes = jnp.asarray(rng.choice([-1.0, 1.0], (n, 2)))
        # A product brings out what the kernel passes most of, where the transforms' own error is largest.
        smooth = K @ (1 + probes[:, 0])
        probes = probes.at[:, 0].set(smooth / jnp.linalg.norm(smooth) * n**0.5)
        rows = jnp.asarray(rng.choice(n, min(ROWS, n), replace=False))
        misfit = _rows(self.kernel, self.points, rows, probes, self.which) - (K @ probes)[rows]
        return float(jnp.max(jnp.sqrt(jnp.mean(misfit**2, axis=0))))

    def _unseen(self, series: Series) -> float:
        """n/s ‖k − series‖ over the pairs of s random points: what shows only between the lags of the table.

        Not the cusp at lag zero, which the sieve has: pairs within eight lags of the table are left out.
        """
        n = self.points.shape[0]
        chosen = np.random.default_rng(1).choice(n, min(PAIRS_OF, n), replace=False)
        x = np.asarray(self.points)[np.sort(chosen)]
        turns = (x[:, None] - x) / series.period
        turns -= np.round(turns)
        far = np.max(np.abs(turns), axis=-1) > 8 / series.size
        # Transforms run on a grid twice as fine as their modes; all modes of the table, where that fits.
        fits = 16 * (2 * series.size) ** series.dim <= 2**30
        cutoff = series.size // 2 - 1 if fits else series.size // 4
        phases = [2 * np.pi * turns[..., axis].ravel() for axis in range(series.dim)]
        values = transforms()[1](series.within(cutoff).astype(complex), *phases, iflag=1, eps=1e-13).real
        exact = np.asarray(self.kernel.gram(x, which=self.which))
        misfit = np.where(far, exact - np.asarray(values).reshape(exact.shape), 0)
        return float(n / len(x) * np.linalg.norm((misfit + misfit.T) / 2, 2))


def _ahead(series: Series, bound: WaveBound, reached: float) -> tuple[np.ndarray, np.ndarray]:
    """Cutoffs of longer series, in quarters of an octave from the end of a table on, and the falling errors they reach.

    If what is left out falls on as the coefficients do. Cutoffs are up to a quarter of the largest table's lags.
    """
    first, last = np.log2(series.size / 4), np.log2(current().table) / series.dim - 2
    cutoffs = 2.0 ** np.arange(first, max(first, np.floor(last)) + 0.125, 0.25)
    left = np.array([beyond(series, bound, cutoff) for cutoff in cutoffs])
    return cutoffs, reached * left / left[0]


def left_out(series: Series, bound: WaveBound, cutoff: int) -> float:
    """Bound ‖K − series cut off at M‖ by the coefficients beyond, those beyond the table, and r = k(0) − Σ k̂.

    With κ_j = max |k̂| beyond N_j and M = N_0 < N_1 < …, the coefficients beyond M are at most Σ_j (κ_j − κ_{j+1}) on
    |ξ| ≤ N_{j+1}, so that the norm is at most Σ_j (κ_j − κ_{j+1}) S(N_{j+1}). Each coefficient within M is off by
    the aliases, whose norm is at most their largest times S(M). The series is `summable`, M at most a quarter of it.
    """
    kept = series.within(cutoff)
    remainder = abs(float(np.sum(series.coefficients)) - float(np.sum(kept)))
    return beyond(series, bound, cutoff) + remainder + series.aliasing(cutoff) * float(bound(np.array(cutoff)))


def beyond(series: Series, bound: WaveBound, cutoff: float) -> float:
    """Return the first term of `left_out`, Σ_j (κ_j − κ_{j+1}) S(N_{j+1}), for any cutoff."""
    # Finely at first, where S is to be taken as small as it is; 60 octaves leave nothing that shows.
    ladder = cutoff * np.concatenate([1.25 ** np.arange(12), 1.25**12 * 2.0 ** np.arange(60)])
    tail = series.tail(ladder)
    return float(np.sum((tail[:-1] - tail[1:]) * bound(ladder[1:])))


def _largest(K: Nonuniform) -> float:
    """λ_max of the fast form from below, by a few Lanczos steps."""
    _, (alpha, beta) = recur_only(K, begin(positive_start(K.num_points)), min(LANCZOS_STEPS, K.num_points))
    return largest_ritz(np.asarray(alpha)[:, 0], np.asarray(beta)[:, 0])[0]


@partial(jax.jit, static_argnames="which")
def _rows(
    k: ComposedKernel, x: Float[Array, "n d"], rows: Integer[Array, " r"], v: Float[Array, "n c"], which: Which
) -> Float[Array, "r c"]:
    """Rows of K v by exact entries, shape (len(rows), c)."""
    n, dim = x.shape
    count = -(-n // COLUMNS)
    padding = count * COLUMNS - n
    asked, never = k.rows(x[rows]), jnp.zeros((len(rows), COLUMNS), dtype=bool)

    def tile(total: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
        return total + k.tile(asked, k.rows(part[0]), never, which) @ part[1], None

    x = jnp.pad(x, ((0, padding), (0, 0)), mode="edge").reshape(count, COLUMNS, dim)
    v = jnp.pad(v, ((0, padding), (0, 0))).reshape(count, COLUMNS, -1)
    return jax.lax.scan(tile, jnp.zeros((len(rows), v.shape[-1])), (x, v))[0]
