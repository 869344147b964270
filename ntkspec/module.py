"""The base class of records that JAX sees. A leaf."""

from __future__ import annotations

from typing import TYPE_CHECKING

import equinox

__all__ = ["Module"]


class Module(equinox.Module):
    """A frozen dataclass that is a pytree, its class a part of the structure; `equinox.field(static=True)` is no leaf.

    ``__check_init__`` runs when an object is built, and not when JAX puts tracers or placeholders into it.

    Example:
        >>> import jax
        >>> class Line(Module):
        ...     slope: float
        ...     def at(self, x):
        ...         return self.slope * x
        >>> jax.grad(lambda line: line.at(2.0))(Line(3.0)).slope
        Array(2., dtype=float64, weak_type=True)
    """

    if not TYPE_CHECKING:
        # Plain bound methods: those of equinox are hashed by their leaves, so that `jax.jit(k.ntk)` refuses arrays.
        __getattribute__ = object.__getattribute__
