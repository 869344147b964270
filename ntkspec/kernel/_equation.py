"""One equation of a traced function, for those who evaluate its trace their own way."""

from __future__ import annotations

from typing import Any

from jax.extend.core import ClosedJaxpr, JaxprEqn

__all__ = ["evaluated", "within"]


def within(equation: JaxprEqn) -> ClosedJaxpr | None:
    """Return the function that an equation does no more than call; None where it does something itself."""
    inner = equation.params.get("jaxpr")
    called = equation.primitive.name in ("pjit", "jit", "closed_call") and hasattr(inner, "jaxpr")
    return inner if called else None


def evaluated(equation: JaxprEqn, operands: list[Any]) -> list[Any]:
    """Return what an equation makes of its operands."""
    bound = equation.primitive.get_bind_params(equation.params)
    # JAX before 0.10 hands functions over beside the parameters.
    functions, params = bound if isinstance(bound, tuple) else ((), bound)
    result = equation.primitive.bind(*functions, *operands, **params)
    return list(result) if equation.primitive.multiple_results else [result]
