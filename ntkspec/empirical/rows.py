"""The Jacobian of a finite network as rows, one a point, and their inner products.

A network of Dense layers has its rows as factors (`kernel.factor`): row i of a layer is inputs_i ⊗ signals_i, so that

    K_ij = Σ_layers (inputs_i · inputs_j) (signals_i · signals_j),

which takes n²W a layer where the Jacobian itself, n rows of W² entries, takes n²W². Of any other network the rows are
its gradients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array

from ntkspec.kernel import Network
from ntkspec.kernel.activation.base import register
from ntkspec.kernel.factor import Factor, Layered, is_layered
from ntkspec.kernel.gram import Which

__all__ = ["Factors", "Gradients", "Rows", "bytes_of_row", "compute", "rows_of"]

#: Points whose gradients are computed side by side, so that their passes are products of matrices.
SIDE_BY_SIDE = 256


@register
@dataclass(frozen=True)
class Factors:
    """Rows of a network of Dense layers; a `kernel.gram.Tiled`.

    Attributes:
        network: that knows its factors.
        params: θ.
        output: the one whose kernel it is; None for the mean over outputs.
    """

    network: Network
    params: Any
    output: int | None = field(metadata={"static": True})

    def rows(self, x: Array) -> Any:
        """The factors at inputs (n, p), a list, of the outputs that are asked for."""
        found = cast(Layered, self.network).factors(self.params, x)
        return [Factor(inputs, _selected(signals, self.output)) for inputs, signals in found]

    def tile(self, x: list[Factor], z: list[Factor], same: Array | None = None, which: Which = "ntk") -> Array:
        """The kernel of all pairs of two `rows`, (n, k)."""
        return _sum([a.inputs @ b.inputs.T * _mean(a.signals, b.signals) for a, b in zip(x, z, strict=True)])

    def between(self, x: list[Factor], z: list[Factor]) -> Array:
        """The kernel of all pairs of points and of outputs, (n, k, outputs, outputs)."""
        return _sum(
            [(a.inputs @ b.inputs.T)[:, :, None, None] * _each(a.signals, b.signals) for a, b in zip(x, z, strict=True)]
        )

    def diagonal(self, x: list[Factor]) -> Array:
        """The kernel of each point with itself, (n,)."""
        return _sum([jnp.sum(a.inputs**2, axis=1) * _squares(a.signals) for a in x])


@register
@dataclass(frozen=True)
class Gradients:
    """Rows of any network: the gradients themselves; a `kernel.gram.Tiled` with the attributes of `Factors`."""

    network: Network
    params: Any
    output: int | None = field(metadata={"static": True})

    def rows(self, x: Array) -> Any:
        """A list of the gradients with respect to each array of parameters, (n, outputs, size)."""

        def outputs(params: Any, point: Array) -> Array:
            return _selected(self.network.apply(params, point[None]), self.output)[0]

        def one(point: Array) -> list[Array]:
            gradient = jax.tree.leaves(jax.jacrev(outputs)(self.params, point))
            return [leaf.reshape(leaf.shape[0], -1) for leaf in gradient]

        return jax.lax.map(one, x, batch_size=min(SIDE_BY_SIDE, len(x)))

    def tile(self, x: list[Array], z: list[Array], same: Array | None = None, which: Which = "ntk") -> Array:
        """The kernel of all pairs of two `rows`, (n, k)."""
        return _sum([_mean(a, b) for a, b in zip(x, z, strict=True)])

    def between(self, x: list[Array], z: list[Array]) -> Array:
        """The kernel of all pairs of points and of outputs, (n, k, outputs, outputs)."""
        return _sum([_each(a, b) for a, b in zip(x, z, strict=True)])

    def diagonal(self, x: list[Array]) -> Array:
        """The kernel of each point with itself, (n,)."""
        return _sum([_squares(a) for a in x])


Rows = Factors | Gradients


def rows_of(network: Network, params: Any, output: int | None) -> Rows:
    """The rows of a network's Jacobian, as factors where it knows them."""
    return (Factors if is_layered(network) else Gradients)(network, params, output)


@jax.jit
def compute(rows: Rows, x: Array) -> Any:
    """The rows at inputs, compiled."""
    return rows.rows(x)


def bytes_of_row(rows: Rows, features: Array) -> int:
    """Memory of the row of one point."""
    # Of a compiled function the shapes are kept: a call that has been made before traces nothing.
    shapes = compute.eval_shape(rows, jax.ShapeDtypeStruct((1, *features.shape[1:]), features.dtype))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def _selected(outputs: Array, output: int | None) -> Array:
    return outputs if output is None else outputs[:, output : output + 1]


def _mean(a: Array, b: Array) -> Array:
    """Inner products (n, k) of rows (n, outputs, p) and (k, outputs, p), the mean over outputs."""
    return jnp.einsum("icp,jcp->ij", a, b) / a.shape[1]


def _each(a: Array, b: Array) -> Array:
    """Inner products of each output with each, (n, k, outputs, outputs)."""
    return jnp.einsum("icp,jdp->ijcd", a, b)


def _squares(a: Array) -> Array:
    return jnp.sum(a**2, axis=(1, 2)) / a.shape[1]


def _sum(parts: list[Array]) -> Array:
    # A network may have no trained parameters at all in an array of no size.
    return sum(parts[1:], parts[0])
