"""How the kernel of a finite network moves while it is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_labels, check_sizes
from ntkspec.empirical.inputs import behind, check_stacked
from ntkspec.empirical.leading import leading_eigenvalues
from ntkspec.empirical.rows import bytes_of_row, rows_of
from ntkspec.empirical.sample import Frequencies, frequencies_of, sample
from ntkspec.kernel import ComposedKernel, Network
from ntkspec.operator.base import refuse_if_too_large
from ntkspec.record import attributes

__all__ = ["Movement", "movement"]

#: Bytes of the rows of networks that are looked at side by side.
SIDE_BY_SIDE = 2**28

#: Of each network at each step, with what it says.
MEASURES = {
    "kernel_drift": "change of the kernel since initialisation, relative to it",
    "kernel_rotation": "change of the kernel's direction since initialisation, 1 − cosine",
    "kernel_error": "distance to the infinitely wide kernel, relative to it",
    "kernel_alignment": "alignment of the kernel with the target",
    "centered_kernel_alignment": "alignment of the centred kernel with the target",
}


@dataclass
class Movement:
    """An observer of training that compares kernels; build one with `movement`.

    Attributes:
        network: that is trained.
        features: of the points looked at, shape (m, p).
        target: labels there, shape (m, channels).
        infinite: the kernel Θ of infinite width there, shape (m, m).
        frequencies: plane waves on those points; None where they lie on no lattice.
        scale: n/m, by which eigenvalues on m of the n points are multiplied.
        num_eigenvalues: how many are recorded.
        attrs: of the Datasets.
        start: K_0 of each network, shape (seed, m, m); None until the first call.
        start_step: the step of `start`.
        last_step: the step of the last call.
        checked: shapes of parameters that are known to be the network's.
        together: how many networks' rows fit side by side in `SIDE_BY_SIDE`.
    """

    network: Network
    features: Array
    target: Array
    infinite: Array
    frequencies: Frequencies | None
    scale: float
    num_eigenvalues: int
    attrs: dict[str, Any]
    start: Array | None = field(default=None, repr=False)
    start_step: int | None = None
    last_step: int | None = None
    checked: Any = field(default=None, repr=False)
    together: int = 1

    def __call__(self, step: int, params: Any) -> xr.Dataset:
        """Compare the kernels at these parameters with those that the run began with.

        Args:
            step: of training. One below that of the last call begins another run.
            params: of all networks, stacked along a leading axis.

        Returns:
            Dataset with one `step`; see `movement`.

        Raises:
            ValueError: if the parameters are of another network, of networks behind a learned mapping, or of another
                number of networks than the run began with, or the step is that of the last call: observers do not
                serve two runs at once.
        """
        if step == self.last_step:
            raise ValueError(
                f"step {step} was seen already, and an observer remembers the start of one run; where several kernels "
                "are trained side by side, train each with an observer of its own"
            )
        count = self._count(params)
        begins = self.start is None or self.last_step is None or step < self.last_step
        if self.start is not None and not begins and count != len(self.start):
            raise ValueError(
                f"the parameters are those of {count} networks, and the run began with {len(self.start)}; an observer "
                "remembers the start of one run: build another by empirical.movement"
            )
        kernels = self.kernels(params)
        if begins or self.start is None:
            self.start, self.start_step = kernels, step
        self.last_step = step
        waves = None if self.frequencies is None else (self.frequencies.lag, self.frequencies.weights)
        measured = _measures(kernels, self.start, self.infinite, self.target, waves, self.scale)
        found = {name: np.asarray(values) for name, values in measured.items()}
        value, error = leading_eigenvalues(kernels, self.num_eigenvalues)
        found |= {"kernel_eigenvalue": self.scale * value, "kernel_eigenvalue_error": self.scale * error}
        return self._dataset(step, found)

    def kernels(self, params: Any) -> Array:
        """The empirical kernel of each network at the points looked at, (seed, m, m), in float64."""
        count = self._count(params)
        with jax.default_matmul_precision("highest"):
            return _kernels(self.network, params, self.features, min(count, self.together))

    def _count(self, params: Any) -> int:
        """How many networks there are; what is checked by tracing is checked once for each kind of parameters."""
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), params)
        if shapes == self.checked:
            return len(jax.tree.leaves(params)[0])
        if isinstance(params, dict) and params.keys() == {"network", "mapping"}:
            raise ValueError(
                "the parameters are those of networks behind a learned mapping, {'network': ..., 'mapping': ...}, and "
                "movement compares kernels behind the mapping that it was given; train with trainable=(), or observe "
                "params['network'] for the networks' kernels behind the mapping as it was"
            )
        count, _ = check_stacked(self.network, params, self.features)
        rows = rows_of(self.network, jax.tree.map(lambda leaf: leaf[0], params), None)
        each, m = bytes_of_row(rows, self.features), len(self.features)
        refuse_if_too_large(
            2 * m * each + 4 * 8 * m * m * count,
            f"the kernels of {count} networks at {m} points",
            "take fewer points: movement(..., max_points=...)",
        )
        self.checked = shapes
        self.together = max(1, SIDE_BY_SIDE // (m * each))
        return count

    def _dataset(self, step: int, found: dict[str, np.ndarray]) -> xr.Dataset:
        lead = ("seed", "step")
        variables: dict[str, Any] = {
            name: (lead, found[name][:, None], {"long_name": text, "units": ""}) for name, text in MEASURES.items()
        }
        variables["kernel_eigenvalue"] = (
            (*lead, "mode"),
            found["kernel_eigenvalue"][:, None],
            {"long_name": "largest eigenvalues of the kernel", "units": ""},
        )
        variables["kernel_eigenvalue_error"] = (
            (*lead, "mode"),
            found["kernel_eigenvalue_error"][:, None],
            {"long_name": "bound on the error of the eigenvalues", "units": ""},
        )
        variables["kernel_start_step"] = (
            "step",
            [self.start_step],
            {"long_name": "step whose kernel is compared with", "units": "steps"},
        )
        coords: dict[str, Any] = {
            "step": ("step", [step], {"long_name": "training step", "units": "steps"}),
            "seed": ("seed", np.arange(len(found["kernel_drift"]))),
        }
        if self.frequencies is not None:
            waves = self.frequencies
            variables["kernel_rayleigh_quotient"] = (
                (*lead, "kernel_frequency"),
                found["kernel_rayleigh_quotient"][:, None],
                {"long_name": "rate at which plane waves of a frequency begin to be learned", "units": ""},
            )
            coords["kernel_frequency"] = (
                "kernel_frequency",
                waves.frequency,
                {"long_name": "frequency", "units": "cycles per unit"},
            )
            coords["infinite_rayleigh_quotient"] = (
                "kernel_frequency",
                self.scale * np.asarray(_rayleigh_quotients(self.infinite, waves.lag, waves.weights)),
                {"long_name": "the same of the infinitely wide kernel", "units": ""},
            )
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
    """An observer of training: ``observe(step, params)`` gives what has become of the kernels K_t of the networks.

    The kernels are those of `ntk`, the mean over outputs, at no more than `max_points` of the points: of a lattice
    every s-th point along each axis, where frequencies above the lower Nyquist frequency fold onto those below; of
    scattered points a random choice. The mapping is fixed: a run with ``trainable=`` is refused at the first call.
    Eigenvalues and Rayleigh quotients are multiplied by n/m
    to stand for those of all n points: exactly so where m = n, else as far as a sum over m points is an integral.

    Args:
        k: mapping and network, or a network alone; `linearised` ones do not move.
        x: training points, shape (n, d).
        y: labels, shape (n,) or (n, channels).
        max_points: at which kernels are compared, m at most.
        num_eigenvalues: how many of the largest to record.
        seed: of the choice among scattered points.

    Returns:
        The observer. K_0 is the kernel at the first call, whose step `kernel_start_step` (step) tells: record step 0,
        and know that a run which goes on from a checkpoint is compared with where it went on. A lower step than the
        last begins another run. Each call returns a Dataset over (seed, step), one step:
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
        >>> after = observe(10, jax.tree.map(lambda leaf: 1.1 * leaf, params))
        >>> dict(before.sizes)["seed"], float(before.kernel_drift.max()), bool((after.kernel_drift > 0.1).all())
        (3, 0.0, True)
    """
    here = behind(k, x)
    labels = check_labels(y, len(here.points))
    check_sizes(max_points=max_points, num_eigenvalues=num_eigenvalues)
    if here.network.width is None:
        raise ValueError("this network has no width, so it cannot be trained; build it with MLP(..., width=512)")
    here.network.require_derivative()
    chosen = sample(np.asarray(here.points), max_points, seed)
    target = labels.reshape(len(labels), -1)[chosen]
    if not bool(jnp.any(target)):
        raise ValueError("the labels are all 0 at the points looked at, so no kernel is aligned with them")
    points, m = here.points[chosen], len(chosen)
    return Movement(
        here.network,
        here.features[chosen],
        target,
        k.ntk(points),
        frequencies_of(np.asarray(points)),
        len(here.points) / m,
        min(num_eigenvalues, m),
        {**attributes(kernel=k), "kernel_points": m, "kernel_points_of": len(here.points)},
    )


@partial(jax.jit, static_argnames="together")
def _kernels(network: Network, params: Any, features: Array, together: int) -> Array:
    """The kernels (seed, m, m) of stacked parameters, `together` at a time."""

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
    start: Array,
    infinite: Array,
    target: Array,
    waves: tuple[Array, Array] | None,
    scale: float,
) -> dict[str, Array]:
    """Of each kernel (seed, m, m), what `movement` records."""

    def one(K: Array, K_0: Array) -> dict[str, Array]:
        measured = {
            "kernel_drift": jnp.linalg.norm(K - K_0) / jnp.linalg.norm(K_0),
            # As half the squared distance of unit vectors, which has digits where 1 − cosine has none.
            "kernel_rotation": jnp.sum((K / jnp.linalg.norm(K) - K_0 / jnp.linalg.norm(K_0)) ** 2) / 2,
            "kernel_error": jnp.linalg.norm(K - infinite) / jnp.linalg.norm(infinite),
            "kernel_alignment": _alignment(K, target),
            "centered_kernel_alignment": _alignment(_centered(K), target - target.mean(axis=0)),
        }
        if waves is not None:
            measured["kernel_rayleigh_quotient"] = scale * _rayleigh_quotients(K, *waves)
        return measured

    return jax.lax.map(lambda pair: one(*pair), (kernels, start))


def _alignment(K: Array, target: Array) -> Array:
    """⟨K, yyᵀ⟩/(‖K‖‖yyᵀ‖) for labels (m, channels)."""
    return jnp.sum(target * (K @ target)) / (jnp.linalg.norm(K) * jnp.linalg.norm(target.T @ target))


def _centered(K: Array) -> Array:
    rows = K - K.mean(axis=0)
    return rows - rows.mean(axis=1, keepdims=True)


def _rayleigh_quotients(K: Array, lag: Array, weights: Array) -> Array:
    """uᴴKu/uᴴu averaged over the plane waves of each band: entries summed by lag, then by frequency."""
    return weights @ jax.ops.segment_sum(K.ravel(), lag.ravel(), num_segments=weights.shape[1])
