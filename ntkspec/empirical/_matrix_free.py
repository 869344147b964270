"""The empirical NTK as an operator that is never formed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from numpy.typing import ArrayLike

from ntkspec.empirical._gram import blocks, ntk, strip_size
from ntkspec.empirical._inputs import behind, check_output, features_of, network_of, num_outputs
from ntkspec.empirical._rows import rows_of, together
from ntkspec.grid import Placement
from ntkspec.kernel import ComposedKernel, Network
from ntkspec.operator._base import OnPoints
from ntkspec.progress import Progress

#: Points whose rows exist side by side in a norm, and in a diagonal.
STRIP, FEW = 2048, 16


class Empirical(OnPoints):
    """K = J Jᵀ of a finite network, multiplied by its derivatives; build one with `operator`.

    Attributes:
        kernel: mapping and network, or a network alone.
        params: θ of the one finite network.
        coordinates: the points, shape (n, d), or raw inputs (n, ...).
        outputs: those whose kernels are averaged.
        block: points whose activations exist side by side in a product.
    """

    kernel: ComposedKernel | Network
    params: Any
    outputs: tuple[int, ...] = eqx.field(static=True)
    block: int = eqx.field(default=1024, static=True)

    @property
    def points(self) -> np.ndarray:
        return np.asarray(self.coordinates).reshape(self.num_points, -1)

    @property
    def placement(self) -> Placement | None:
        return super().placement if self.coordinates.ndim == 2 else None

    @property
    def dtype(self) -> np.dtype:
        return jnp.result_type(*jax.tree.leaves(self.params))

    def matvec(self, v: Float[Array, " n"]) -> Float[Array, " n"]:
        """J (Jᵀ v) for one vector (n,): one vector-Jacobian and one Jacobian-vector product an output."""
        one = jax.vmap(lambda output: self._product(v.astype(self.dtype), output))
        return jnp.mean(one(jnp.asarray(self.outputs)), axis=0)

    def _product(self, v: Array, output: Array) -> Array:
        points = self._blocks(self.coordinates)
        gradient = self._pull(points, v, output)
        return jax.lax.map(lambda block: self._push(gradient, block, output), points).ravel()[: self.num_points]

    def _blocks(self, points: Array) -> Array:
        """Points (n, ...) as (count, size, ...); the last one again fills up."""
        count = -(-len(points) // self.block)
        size = -(-len(points) // count)
        padding = [(0, size * count - len(points))] + [(0, 0)] * (points.ndim - 1)
        return jnp.pad(points, padding, mode="edge").reshape(count, size, *points.shape[1:])

    def _pull(self, points: Array, v: Array, output: Array) -> Any:
        """Jᵀ v, shaped as the parameters; what fills up is multiplied by zero."""
        count, size = points.shape[:2]
        v = jnp.pad(v, (0, count * size - len(v))).reshape(count, size)

        def add(total: Any, part: tuple[Array, Array]) -> tuple[Any, None]:
            _, pullback = jax.vjp(lambda params: self._output(params, part[0], output), self.params)
            return jax.tree.map(jnp.add, total, pullback(part[1])[0]), None

        return jax.lax.scan(add, jax.tree.map(jnp.zeros_like, self.params), (points, v))[0]

    def _push(self, gradient: Any, points: Array, output: Array) -> Array:
        """J times a direction of the parameters, at a block of points."""
        return jax.jvp(lambda params: self._output(params, points, output), (self.params,), (gradient,))[1]

    def _expand(self, asked: Array, columns: Array, progress: Progress) -> Array:
        """J(z) Jᵀ w, a backward pass on the points and a forward one on those asked for."""
        asked = asked.reshape(len(asked), *self.coordinates.shape[1:])
        with progress.start("asked points", columns.shape[1], "columns") as stage:
            values = []
            for column in columns.T:
                values.append(_at(self, asked, column.astype(self.dtype)))
                stage.advance()
        return jnp.stack(values, axis=1).astype(columns.dtype)

    def _trace_at(self, asked: Array) -> float:
        return float(jnp.sum(_diagonal(replace(self, coordinates=asked.reshape(-1, *self.coordinates.shape[1:])))))

    def _output(self, params: Any, points: Array, output: Array) -> Array:
        # On a GPU the default product of float32 is coarser than float32.
        with jax.default_matmul_precision("highest"):
            values = network_of(self.kernel).apply(params, features_of(self.kernel, points))
        return jnp.take(values, output, axis=1)

    def diagonal(self) -> Float[Array, " n"]:
        return _diagonal(self)

    def to_dense(self) -> Float[Array, "n n"]:
        return ntk(self.kernel, self.params, self.coordinates, output=self._one)

    def frobenius_norm(self) -> Float[Array, ""]:
        """√Σ K_ij², exact, from blocks of the matrix that are not kept."""
        features = features_of(self.kernel, self.coordinates)
        rows = rows_of(network_of(self.kernel), self.params, self._one)
        size = min(STRIP, strip_size(rows, features, self.dtype.itemsize * STRIP**2))
        total = jnp.zeros(())
        with jax.default_matmul_precision("highest"):
            for i, j, values in blocks(rows, features, None, size):
                total += (1 if i == j else 2) * jnp.sum(values.astype(total.dtype) ** 2)
        return jnp.sqrt(total)

    @property
    def _one(self) -> int | None:
        """As the rows name outputs: one, or None for the mean over all."""
        return self.outputs[0] if len(self.outputs) == 1 else None


def operator(k: ComposedKernel | Network, params: Any, x: ArrayLike, *, output: int | None = None) -> Empirical:
    """Return the NTK of a finite network at any parameters as an operator, K v = (1/C) Σ_c J_c J_cᵀ v.

    Every product is a backward pass through the network for Jᵀ v, the gradient of Σ v_i f(x_i), and a forward one
    for its directional derivative, over blocks of points: the cost of about two training steps, and the memory of the
    parameters. Spectrum, bandwidth, convergence and predictions take it like any other operator. Where the matrix fits
    and many products are wanted, `dense` is quicker.

    Args:
        k: mapping and network, or a network alone.
        params: parameters of one finite network; their precision is that of products.
        x: points, shape (n, d).
        output: number of an output to take the kernel of; None is the mean over outputs.

    Source: Novak et al. 2022, "Fast finite width neural tangent kernel", section 3.2 (NTK-vector products).

    Example:
        >>> import jax, numpy as np, ntkspec as ns
        >>> k = ns.kernel.compose(ns.mapping.basic(dim=1), ns.kernel.MLP(depth=2, width=64))
        >>> params, x = k.init(jax.random.key(0)), np.arange(16)[:, None] / 16
        >>> K = ns.empirical.operator(k, params, x)
        >>> bool(np.allclose(K @ x[:, 0], ns.empirical.ntk(k, params, x) @ x[:, 0]))
        True
    """
    here = behind(k, x)
    outputs = num_outputs(here.network, params, here.features)
    check_output(output, outputs)
    return Empirical(here.points, k, params, tuple(range(outputs)) if output is None else (int(output),))


@jax.jit
def _diagonal(K: Empirical) -> Array:
    features = features_of(K.kernel, K.coordinates)
    rows = rows_of(network_of(K.kernel), K.params, K._one)
    few = together(features, FEW)
    with jax.default_matmul_precision("highest"):
        return jax.lax.map(lambda one: rows.diagonal(rows.rows(one[None]))[0], features, batch_size=few)


@jax.jit
def _at(K: Empirical, asked: Array, v: Array) -> Array:
    points, others = K._blocks(K.coordinates), K._blocks(asked)

    def one(output: Array) -> Array:
        gradient = K._pull(points, v, output)
        return jax.lax.map(lambda block: K._push(gradient, block, output), others).ravel()[: len(asked)]

    return jnp.mean(jax.vmap(one)(jnp.asarray(K.outputs)), axis=0)
