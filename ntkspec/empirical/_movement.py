"""How the kernel of a finite network moves while it is trained."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import xarray as xr
from jax import Array
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from ntkspec.checks import check_labels, check_seed, check_sizes, shown
from ntkspec.empirical._inputs import behind, network_of, num_stacked
from ntkspec.empirical._rows import bytes_of_row, rows_of
from ntkspec.empirical._sample import Frequencies, frequencies_of, sample
from ntkspec.kernel import ComposedKernel, Network
from ntkspec.limits import refuse_if_too_large
from ntkspec.record import attributes
from ntkspec.recurrence import reorthogonalised

#: Bytes of the rows of networks that are looked at side by side.
SIDE_BY_SIDE = 2**28

#: Other kernels whose features and Θ an observer keeps, for where another part of their networks begins.
KERNELS = 64

#: Of each network at each step: dimensions of its own, and what it says.
MEASURES: dict[str, tuple[tuple[str, ...], str]] = {
    "kernel_drift": ((), "change of the kernel since initialisation, relative to it"),
    "kernel_rotation": ((), "change of the kernel's direction since initialisation, 1 − cosine"),
    "kernel_error": ((), "distance to the infinitely wide kernel, relative to it"),
    "kernel_alignment": ((), "alignment of the kernel with the target"),
    "centered_kernel_alignment": ((), "alignment of the centred kernel with the target"),
    "kernel_eigenvalue": (("mode",), "largest eigenvalues of the kernel"),
    "kernel_eigenvalue_error": (("mode",), "bound on the error of the eigenvalues"),
    "kernel_rayleigh_quotient": (
        ("kernel_frequency",),
        "rate at which plane waves of a frequency begin to be learned",
    ),
}


@dataclass(frozen=True, eq=False)
class Movement:
    """An observer of training that compares kernels; build one with `movement`.

    Attributes:
        k: mapping and network, or a network alone.
        points: those that are looked at, shape (m, d).
        features: inputs of the network there, shape (m, p).
        target: labels there, shape (m, channels).
        infinite: the kernel Θ of infinite width there, shape (m, m).
        frequencies: plane waves on those points; None where they lie on no lattice.
        scale: n/m, by which eigenvalues on m of the n points are multiplied.
        num_eigenvalues: number of eigenvalues that are recorded.
        attrs: of the Datasets.
        start: K_0 of each network, shape (seed, m, m); None before `begin`.
        checked: shapes of parameters that are known to be the network's.
        together: number of networks whose rows fit side by side in `SIDE_BY_SIDE`.
        others: this observer for other kernels, as it was built.
    """

    k: ComposedKernel | Network
    points: Array
    features: Array
    target: Array
    infinite: Array
    frequencies: Frequencies | None
    scale: float
    num_eigenvalues: int
    attrs: dict[str, Any]
    start: Array | None = field(default=None, repr=False)
    checked: Any = field(default=None, repr=False)
    together: int = 1
    others: deque[Movement] = field(default_factory=lambda: deque(maxlen=KERNELS), repr=False)

    def begin(self, k: ComposedKernel | Network, params: Any) -> Movement:
        """Return the observer of networks that start from these parameters.

        Args:
            k: mapping and network of theirs, or a network alone: the one that the observer was built for, or another
                on the same coordinates.
            params: parameters of all networks, stacked along a leading axis.

        Returns:
            An observer that compares with their kernels K_0, and with the kernel Θ of `k`.

        Example:
            >>> import jax, numpy as np, ntkspec as ns
            >>> x = np.arange(16)[:, None] / 16
            >>> narrow, wide = (ns.kernel.compose(ns.mapping.basic(1), ns.kernel.MLP(1, width=w)) for w in (16, 64))
            >>> observe = ns.empirical.movement(narrow, x, np.sin(2 * np.pi * x[:, 0]))
            >>> params = jax.vmap(wide.init)(jax.random.split(jax.random.key(0), 3))
            >>> float(observe.begin(wide, params)(0, params).kernel_drift.max())
            0.0
        """
        observer = self._of(k)._for(params)
        return replace(observer, start=observer.kernels(params))

    def __call__(self, step: int, params: Any) -> xr.Dataset:
        """Compare the kernels at these parameters with those at the start, the infinitely wide one and the target.

        Args:
            step: step of training.
            params: parameters of all networks, stacked along a leading axis.

        Returns:
            Dataset with one `step`; see `movement`.
        """
        if not isinstance(step, int | np.integer):
            raise TypeError(f"step={shown(step)}; expected the number of a step, as in observe(0, params)")
        kernels = self.kernels(params)
        if self.start is not None and len(kernels) != len(self.start):
            counts = f"the parameters are those of {len(kernels)} networks, and {len(self.start)} began"
            raise ValueError(f"{counts}; for other networks observe.begin(k, params) is the observer")
        waves = None if self.frequencies is None else (self.frequencies.lag, self.frequencies.weights)
        measures = _measures(kernels, self.start, self.infinite, self.target, waves, self.scale)
        measured = {name: np.asarray(values) for name, values in measures.items()}
        value, error = leading_eigenvalues(kernels, self.num_eigenvalues)
        measured |= {"kernel_eigenvalue": self.scale * value, "kernel_eigenvalue_error": self.scale * error}
        return self._dataset(step, measured)

    def kernels(self, params: Any) -> Float[Array, "seed m m"]:
        """Return the empirical kernel of each network at the points looked at, (seed, m, m), in float64."""
        together = self._for(params).together
        with jax.default_matmul_precision("highest"):
            count = len(jax.tree.leaves(params)[0])
            return _kernels(network_of(self.k), params, self.features, min(count, together))

    def _of(self, k: ComposedKernel | Network) -> Movement:
        """Return this observer for a kernel; what depends on the kernel alone is computed once."""
        for observer in (self, *self.others):
            if _same(observer.k, k):
                return observer
        is_behind = isinstance(k, ComposedKernel)
        if is_behind != isinstance(self.k, ComposedKernel) and isinstance(k, ComposedKernel | Network):
            built, given = ("alone", "behind a mapping") if is_behind else ("behind a mapping", "alone")
            kinds = f"the observer was built for a network {built}, and is to look at one {given}"
            raise ValueError(f"{kinds}; build it by ns.empirical.movement(k, x, y) with the kernel of the training")
        fields = _at_points(k, self.points)
        other = replace(self, **fields | {"attrs": self.attrs | fields["attrs"]}, start=None, checked=None)
        self.others.append(other)
        return other

    def _for(self, params: Any) -> Movement:
        """Return this observer for parameters; what is checked by tracing is checked once for each kind of them."""
        shapes = jax.tree.map(lambda leaf: (np.shape(leaf), getattr(leaf, "dtype", type(leaf))), params)
        if self.checked is not None and shapes == self.checked:
            return self
        if isinstance(params, dict) and params.keys() == {"network", "mapping"}:
            raise ValueError(
                "the parameters are of networks behind a learned mapping, and kernels are compared behind the mapping "
                "that it was given; train with trainable=(), or observe params['network'] for kernels behind that"
            )
        network = network_of(self.k)
        count, _ = num_stacked(network, params, self.features)
        rows = rows_of(network, jax.tree.map(lambda leaf: leaf[0], params), None)
        each, m = bytes_of_row(rows, self.features), len(self.features)
        refuse_if_too_large(
            2 * m * each + 4 * 8 * m * m * count,
            f"the kernels of {count} networks at {m} points",
            "take fewer points: movement(..., max_points=...)",
        )
        return replace(self, checked=shapes, together=max(1, SIDE_BY_SIDE // (m * each)))

    def _dataset(self, step: int, measured: dict[str, np.ndarray]) -> xr.Dataset:
        variables: dict[str, Any] = {
            name: (("seed", "step", *dims), measured[name][:, None], {"long_name": text, "units": ""})
            for name, (dims, text) in MEASURES.items()
            if name in measured
        }
        coords: dict[str, Any] = {
            "step": ("step", [step], {"long_name": "training step", "units": "steps"}),
            "seed": ("seed", np.arange(len(measured["kernel_error"]))),
        }
        if (waves := self.frequencies) is not None:
            label = {"long_name": "frequency", "units": "cycles per unit"}
            coords["kernel_frequency"] = ("kernel_frequency", waves.frequency, label)
            infinite = self.scale * np.asarray(_rayleigh_quotients(self.infinite, waves.lag, waves.weights))
            label = {"long_name": "the same of the infinitely wide kernel", "units": ""}
            coords["infinite_rayleigh_quotient"] = ("kernel_frequency", infinite, label)
        return xr.Dataset(variables, coords=coords, attrs=self.attrs)


def movement(
    k: ComposedKernel | Network,
    x: ArrayLike,
    y: ArrayLike,
    *,
    max_points: int = 256,
    num_eigenvalues: int = 8,
    seed: int = 0,
) -> Movement:
    """Observe training: ``observe(step, params)`` measures how the kernels K_t of the networks have changed.

    The kernels are those of `ntk`, the mean over outputs, at no more than `max_points` of the points: of a lattice
    every s-th point along each axis, where frequencies above the lower Nyquist frequency fold onto those below; of
    scattered points a random choice. The mapping is fixed: a run with ``trainable=`` is refused at the first call.
    Eigenvalues and Rayleigh quotients are multiplied by n/m, which gives those of all n points exactly where m = n,
    else as far as a sum over m points is an integral.

    Args:
        k: mapping and network, or a network alone; `linearised` ones do not move.
        x: training points, shape (n, d).
        y: labels, shape (n,) or (n, channels).
        max_points: number of points at which kernels are compared, m at most.
        num_eigenvalues: number of the largest eigenvalues to record.
        seed: seed of the choice among scattered points.

    Returns:
        The observer. In a run K_0 is the kernel of each network as it starts, whatever steps are recorded, in every
        part of an ensemble and after `resume`; Θ is that of the kernel that is trained, so that one observer serves
        all of `train_scales`. It keeps no state: outside of a run ``observe.begin(k, params)`` is the observer that
        looks back to these parameters, and called as it is, it leaves out what looks back, drift and rotation. Each
        call returns a Dataset over (seed, step), one step:
        `kernel_drift` ‖K_t − K_0‖/‖K_0‖, in Frobenius norms like the rest;
        `kernel_rotation` 1 − ⟨K_t, K_0⟩/(‖K_t‖‖K_0‖), the part of it that is not mere growth;
        `kernel_error` ‖K_t − Θ‖/‖Θ‖;
        `kernel_alignment` ⟨K_t, yyᵀ⟩/(‖K_t‖‖yyᵀ‖), that is yᵀK_t y/(‖y‖²‖K_t‖) for one channel;
        `centered_kernel_alignment`, the same of HK_tH and Hy, H = 1 − 11ᵀ/m;
        `kernel_eigenvalue` (…, mode), descending, with `kernel_eigenvalue_error`, a bound;
        on a lattice `kernel_rayleigh_quotient` (…, kernel_frequency), uᴴK_t u/uᴴu averaged over the plane waves u of a
        frequency band, beside the coordinate `infinite_rayleigh_quotient` (kernel_frequency), that of Θ.

    Raises:
        ValueError: if points or labels have the wrong shape, the labels are all zero, or the network has no NTK or no
            finite width.

    Source: Fort et al. 2020, "Deep learning versus kernel learning", section 3 (kernel distance); Cristianini et al.
    2001, "On kernel-target alignment", definition 1; Cortes, Mohri & Rostamizadeh 2012, "Algorithms for learning
    kernels based on centered alignment", definition 4.

    Example:
        >>> import jax, numpy as np, ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=1, width=64))
        >>> x = np.arange(16)[:, None] / 16
        >>> observe = ns.empirical.movement(k, x, np.sin(2 * np.pi * x[:, 0]))
        >>> params = jax.vmap(k.init)(jax.random.split(jax.random.key(0), 3))
        >>> before = observe(0, params)
        >>> dict(before.sizes)["seed"], "kernel_alignment" in before, "kernel_drift" in before
        (3, True, False)
        >>> after = observe.begin(k, params)(10, jax.tree.map(lambda leaf: 1.1 * leaf, params))
        >>> bool((after.kernel_drift > 0.1).all())
        True
    """
    here = behind(k, x)
    labels = check_labels(y, len(here.points))
    check_sizes(max_points=max_points, num_eigenvalues=num_eigenvalues)
    check_seed(seed)
    chosen = sample(np.asarray(here.points), max_points, seed)
    target = labels.reshape(len(labels), -1)[chosen]
    if not bool(jnp.any(target)):
        raise ValueError("the labels are all 0 at the points looked at, so no kernel is aligned with them")
    points, m = here.points[chosen], len(chosen)
    fields = _at_points(k, points)
    fields["attrs"] |= {"kernel_points": m, "kernel_points_of": len(here.points)}
    return Movement(
        **fields,
        target=target,
        frequencies=frequencies_of(np.asarray(points)),
        scale=len(here.points) / m,
        num_eigenvalues=min(num_eigenvalues, m),
    )


def _at_points(k: ComposedKernel | Network, points: Array) -> dict[str, Any]:
    """Return what a `Movement` has of its kernel, by name."""
    here = behind(k, points)
    if here.network.width is None:
        raise ValueError("this network has no width, so it cannot be trained; build it with MLP(..., width=512)")
    here.network.require_derivative()
    return {
        "k": k,
        "points": here.points,
        "features": here.features,
        "infinite": k.ntk(here.points),
        "attrs": attributes(kernel=k),
    }


def _same(a: ComposedKernel | Network, b: ComposedKernel | Network) -> bool:
    """Whether kernels are of one program and equal numbers."""
    structure: Any = jax.tree.structure(a)
    alike = a is b or structure == jax.tree.structure(b)
    return alike and all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))


@partial(jax.jit, static_argnames="together")
def _kernels(network: Network, params: Any, features: Float[Array, "m ..."], together: int) -> Float[Array, "seed m m"]:
    """Return the kernels (seed, m, m) of stacked parameters, `together` at a time."""

    def one(params: Any) -> Array:
        # What is trained in half precision is looked at in single.
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)), params)
        rows = rows_of(network, params, None)
        of_points = rows.rows(features)
        return rows.tile(of_points, of_points).astype(float)

    return jax.lax.map(one, params, batch_size=together)


@jax.jit
def _measures(
    kernels: Array,
    start: Array | None,
    infinite: Array,
    target: Array,
    waves: tuple[Array, Array] | None,
    scale: float | Array,
) -> dict[str, Array]:
    """Of each kernel (seed, m, m), what `movement` records."""

    def one(K: Array, K_0: Array | None) -> dict[str, Array]:
        measured = {
            "kernel_error": jnp.linalg.norm(K - infinite) / jnp.linalg.norm(infinite),
            "kernel_alignment": _alignment(K, target),
            "centered_kernel_alignment": _alignment(_centered(K), target - target.mean(axis=0)),
        }
        if K_0 is not None:
            measured["kernel_drift"] = jnp.linalg.norm(K - K_0) / jnp.linalg.norm(K_0)
            # As half the squared distance of unit vectors, which has digits where 1 − cosine has none.
            turned = K / jnp.linalg.norm(K) - K_0 / jnp.linalg.norm(K_0)
            measured["kernel_rotation"] = jnp.sum(turned**2) / 2
        if waves is not None:
            measured["kernel_rayleigh_quotient"] = scale * _rayleigh_quotients(K, *waves)
        return measured

    return jax.lax.map(lambda pair: one(*pair), (kernels, start))


def _alignment(K: Float[Array, "m m"], target: Float[Array, "m channels"]) -> Float[Array, ""]:
    """⟨K, yyᵀ⟩/(‖K‖‖yyᵀ‖) for labels (m, channels)."""
    return jnp.sum(target * (K @ target)) / (jnp.linalg.norm(K) * jnp.linalg.norm(target.T @ target))


def _centered(K: Float[Array, "m m"]) -> Float[Array, "m m"]:
    rows = K - K.mean(axis=0)
    return rows - rows.mean(axis=1, keepdims=True)


def _rayleigh_quotients(
    K: Float[Array, "m m"], lag: Int[Array, "m m"], weights: Float[Array, "bands lags"]
) -> Float[Array, " bands"]:
    """uᴴKu/uᴴu averaged over the plane waves of each band: entries summed by lag, then by frequency."""
    return weights @ jax.ops.segment_sum(K.ravel(), lag.ravel(), num_segments=weights.shape[1])


def leading_eigenvalues(
    kernels: Float[Array, "seed m m"], count: int
) -> tuple[Float[np.ndarray, "seed count"], Float[np.ndarray, "seed count"]]:
    """Return the largest eigenvalues θ of symmetric matrices (seed, m, m), descending, (seed, count), and bounds.

    Some eigenvalue of K is as close to θ as its bound; within 64 + 4 `count` points they are all there is, to rounding.
    By Lanczos, not by LAPACK's own reduction: its threads and those of the training run wait for each other, and a
    matrix of 256 points has been seen to take seconds instead of milliseconds on a busy machine.

    Example:
        >>> value, error = leading_eigenvalues(jax.numpy.diag(jax.numpy.array([1.0, 3.0, 2.0]))[None], 2)
        >>> value.round(12).tolist(), bool((error < 1e-12).all())
        ([[3.0, 2.0]], True)
    """
    alpha, beta = (np.asarray(a) for a in _tridiagonal(kernels, min(kernels.shape[1], 64 + 4 * count)))
    values, errors = [], []
    for diagonal, off_diagonal in zip(alpha, beta, strict=True):
        theta, S = scipy.linalg.eigh_tridiagonal(diagonal, off_diagonal[:-1])
        values.append(theta[::-1][:count])
        errors.append(np.abs(off_diagonal[-1] * S[-1, ::-1][:count]) + len(theta) * np.finfo(float).eps * theta[-1])
    return np.stack(values), np.stack(errors)


@partial(jax.jit, static_argnames="steps")
def _tridiagonal(
    kernels: Float[Array, "seed m m"], steps: int
) -> tuple[Float[Array, "seed steps"], Float[Array, "seed steps"]]:
    """α (seed, steps) and β (seed, steps) from one random vector."""
    start = jax.random.normal(jax.random.key(0), kernels.shape[1:2], dtype=kernels.dtype)
    return jax.vmap(lambda K: reorthogonalised(lambda v: K @ v, start, steps))(kernels)
