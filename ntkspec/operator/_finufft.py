"""Nonuniform FFTs of jax-finufft, imported when first used, and what keeps them working on today's JAX.

The vmap rule of jax-finufft 1.3.1 asks `jax._src.interpreters.batching` for `not_mapped`, which JAX 0.10 has removed;
it was None. It is put back where, and only where, it is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import jax
from jax import Array

from ntkspec.extras import needs

__all__ = ["transforms"]


@cache
def transforms() -> tuple[Callable[..., Array], Callable[..., Array]]:
    """Return transforms of type 1, points to modes, and of type 2, modes to points.

    Raises:
        ImportError: if jax-finufft is not installed, or not for the GPU that JAX computes on; with what to do.
    """
    with needs("scattered", "jax_finufft"):
        from jax_finufft import lowering, nufft1, nufft2, ops
    if jax.default_backend() == "gpu" and lowering.jax_finufft_gpu is None:
        raise ImportError(
            "JAX computes on a GPU here, and this jax-finufft was built for processors alone, as its wheels are; build "
            "it with CUDA as its README says, compute on the processor (JAX_PLATFORMS=cpu), or take the exact form, "
            "without `tol`"
        )
    if not hasattr(ops.batching, "not_mapped"):
        ops.batching.not_mapped = None
    return nufft1, nufft2
