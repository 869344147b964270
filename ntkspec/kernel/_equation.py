"""Evaluation of a traced function, equation by equation, with some of them done another way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax.extend.core import Jaxpr, JaxprEqn, Literal


def evaluate(
    jaxpr: Jaxpr, constants: list[Any], args: list[Any], apply: Callable[[JaxprEqn, list[Any]], list[Any]]
) -> list[Any]:
    """Return the outputs of a jaxpr whose equations are evaluated by `apply`, those of functions within it too."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *args], strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for equation in jaxpr.eqns:
        operands = [read(variable) for variable in equation.invars]
        inner: Any = equation.params.get("jaxpr")
        # An equation that does no more than call a function.
        if equation.primitive.name in ("pjit", "jit", "closed_call") and hasattr(inner, "jaxpr"):
            results = evaluate(inner.jaxpr, inner.consts, operands, apply)
        else:
            results = apply(equation, operands)
        values.update(zip(equation.outvars, results, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def evaluated(equation: JaxprEqn, operands: list[Any]) -> list[Any]:
    """Return what an equation makes of its operands."""
    bound = equation.primitive.get_bind_params(equation.params)
    # JAX before 0.10 hands functions over beside the parameters.
    functions, params = bound if isinstance(bound, tuple) else ((), bound)
    result = equation.primitive.bind(*functions, *operands, **params)
    return list(result) if equation.primitive.multiple_results else [result]
