"""The kernel between points and others, multiplied block by block and never formed whole."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ntkspec.kernel._composed import ComposedKernel, Which
from ntkspec.limits import current
from ntkspec.progress import NO_PROGRESS, Progress

__all__ = ["expand", "trace_at"]

#: Points on a side of a block: 32 MiB of kernel, whose features cost little beside its entries.
BLOCK = 2048
#: Points whose diagonal is found at a time where it is not the same for all.
FEW = 64


def expand(
    k: ComposedKernel,
    x: Float[Array | np.ndarray, "n d"],
    asked: Float[Array, "m d"],
    weights: Float[Array, "n c"],
    which: Which,
    progress: Progress = NO_PROGRESS,
) -> Float[Array, "m c"]:
    """Σ_j k(z_i, x_j) w_j, shape (m, c), for asked points z (m, d) and weights w (n, c) of points x (n, d)."""
    rows, columns = _blocks(np.asarray(asked)), _blocks(np.asarray(x))
    padding = columns.shape[0] * columns.shape[1] - len(weights)
    by_block = np.pad(np.asarray(weights, dtype=float), ((0, padding), (0, 0))).reshape(*columns.shape[:2], -1)
    totals = []
    with progress.start("asked points", len(rows) * len(columns), "blocks") as stage:
        for row in rows:
            total = jnp.zeros((len(row), by_block.shape[-1]))
            for column, block_weights in zip(columns, by_block, strict=True):
                total += jnp.matmul(k.gram(row, column, which), block_weights, precision="highest")
                stage.advance()
            totals.append(total)
    return jnp.concatenate(totals)[: len(asked)]


def trace_at(k: ComposedKernel, asked: Float[Array, "m d"], which: Which) -> float:
    """Σ_i k(z_i, z_i), a bound on the norm of the kernel on points z, shape (m, d)."""
    if k.stationary:
        return len(asked) * float(k.gram(asked[:1], None, which)[0, 0])
    count = -(-len(asked) // min(FEW, current().block or FEW))
    return float(sum(jnp.trace(k.gram(block, None, which)) for block in np.array_split(asked, count)))


def _blocks(points: np.ndarray) -> np.ndarray:
    """Points in even blocks, shape (count, size, d): one program does for all; the last point fills up."""
    count = -(-len(points) // (current().block or BLOCK))
    size = -(-len(points) // count)
    return np.pad(points, ((0, count * size - len(points)), (0, 0)), mode="edge").reshape(count, size, -1)
