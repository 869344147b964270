"""Matrix products of float32 numbers in bfloat16: operands rounded to 8 bits, sums in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn

from ntkspec.kernel._equation import evaluate, evaluated

__all__ = ["PRECISIONS", "products_in_bfloat16", "scalar_in_bfloat16"]

#: What `matmul_precision` may be.
PRECISIONS = ("float32", "bfloat16")


def products_in_bfloat16(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same function with every product of float32 matrices in bfloat16.

    The settings of `jax.default_matmul_precision` are hints that processors without such units pass over. Here the
    operands are bfloat16 numbers on every device, so what the rounding does to training is the same everywhere.
    Loops and branches inside the function keep their own products.

    Args:
        function: of pytrees of arrays; differentiate it before, not after.

    Returns:
        The function.

    Example:
        >>> x = jnp.array([[1.0 + 2**-10]], dtype=jnp.float32)
        >>> float(products_in_bfloat16(jnp.matmul)(x, x)[0, 0])
        1.0
    """

    def rounded(*args: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        found = evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args), _apply)
        return jax.tree.unflatten(jax.tree.structure(shapes), found)

    return rounded


def scalar_in_bfloat16(function: Callable[[Any], Array]) -> Callable[[Any], Array]:
    """`products_in_bfloat16` of a function with one value, which may be differentiated afterwards.

    Its gradient is that of `function` with its products rounded, and not that of the roundings.
    """
    rounded = jax.custom_jvp(products_in_bfloat16(function))

    @rounded.defjvp
    def along(params: Any, tangents: Any) -> tuple[Array, Array]:
        value, gradient = products_in_bfloat16(jax.value_and_grad(function))(*params)
        parts = jax.tree.map(lambda g, t: jnp.sum(g * t), gradient, *tangents)
        return value, sum(jax.tree.leaves(parts), jnp.zeros_like(value))

    return rounded


def _apply(equation: JaxprEqn, operands: list[Any]) -> list[Any]:
    if equation.primitive.name == "dot_general" and all(a.dtype == jnp.float32 for a in operands):
        return [_product(operands, equation.params["dimension_numbers"])]
    return evaluated(equation, operands)


def _product(operands: list[Array], dimensions: Any) -> Array:
    a, b = (operand.astype(jnp.bfloat16) for operand in operands)
    return jax.lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)
