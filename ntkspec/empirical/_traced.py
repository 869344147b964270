"""The Jacobian of any network at a point, as factors where a parameter enters by one matrix product.

Where the trace of f(θ, x) shows W once, and in a product y = W·h, its gradient is the outer product of h and ∂f/∂y, two
vectors instead of a matrix: what structured derivatives are made of. Whatever else happens to parameters (convolutions,
biases, weights that are shared) leaves the gradient itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Jaxpr, JaxprEqn

from ntkspec.kernel._base import Factor
from ntkspec.kernel._equation import evaluate, evaluated


def factors_of(function: Callable[[Any, Array], Array], params: Any, x: Array) -> list[Factor]:
    """Return the Jacobian of a function in its parameters, one factor for each array of them that it depends on.

    Args:
        function: (params, x) -> outputs, shape (outputs,).
        params: θ, a pytree of arrays.
        x: one input.

    Returns:
        Factors with inputs (fan_in,) and signals (outputs, fan_out). Of a plain gradient the inputs are a single 1.

    Source: Novak et al. 2022, "Fast finite width neural tangent kernel", section 3.3.
    """
    leaves, structure = jax.tree.flatten(params)

    def flat(leaves: list[Array], x: Array) -> Array:
        return function(jax.tree.unflatten(structure, leaves), x)

    closed = jax.make_jaxpr(flat)(leaves, x)
    shapes = _shapes_of_products(closed, leaves, x)
    probes = {i: jnp.zeros(shape.shape, shape.dtype) for i, shape in shapes.items()}
    others = {i: leaf for i, leaf in enumerate(leaves) if i not in probes}

    def outputs(probes: dict[int, Array], others: dict[int, Array]) -> tuple[Array, dict[int, Array]]:
        trace = _Trace(probes)
        parameters = [_Parameter(i, others.get(i, leaf)) for i, leaf in enumerate(leaves)]
        (found,) = trace.evaluate(closed.jaxpr, closed.consts, [*parameters, x])
        return found, trace.inputs

    (signals, gradients), inputs = jax.jacrev(outputs, argnums=(0, 1), has_aux=True)(probes, others)
    rows = {i: Factor(inputs[i], signals[i].reshape(len(signals[i]), -1)) for i in probes}
    one = jnp.ones(1, dtype=jnp.result_type(*leaves))
    rows |= {i: Factor(one, leaf.reshape(len(leaf), -1)) for i, leaf in gradients.items()}
    return [rows[i] for i in range(len(leaves))]


def _shapes_of_products(closed: Any, leaves: list[Array], x: Array) -> dict[int, jax.ShapeDtypeStruct]:
    """Of each parameter that enters by one product and in no other way, by its number, the shape of that product."""
    trace = _Trace({})

    def look(leaves: list[Array], x: Array) -> Any:
        parameters = [_Parameter(i, leaf) for i, leaf in enumerate(leaves)]
        return trace.evaluate(closed.jaxpr, closed.consts, [*parameters, x])

    jax.eval_shape(look, leaves, x)
    return {i: uses[0] for i, uses in trace.uses.items() if len(uses) == 1 and uses[0] is not None}


@dataclass(frozen=True)
class _Parameter:
    """An array of parameters that nothing has been done to yet."""

    number: int
    value: Array


@dataclass
class _Trace:
    """An evaluation of a trace that follows parameters to what is done with them.

    Attributes:
        probes: added to the product of each of these parameters, so that derivatives in them are its signals.
        inputs: what these parameters were multiplied by, (fan_in,).
        uses: of each parameter: the shape of a product with it, None for anything else.
    """

    probes: dict[int, Array]
    inputs: dict[int, Array] = field(default_factory=dict)
    uses: dict[int, list[jax.ShapeDtypeStruct | None]] = field(default_factory=dict)

    def evaluate(self, jaxpr: Jaxpr, constants: list[Any], args: list[Any]) -> list[Any]:
        """Return the outputs, all of them arrays."""
        return [self._used(one) for one in evaluate(jaxpr, constants, args, self._apply)]

    def _apply(self, equation: JaxprEqn, operands: list[Any]) -> list[Any]:
        if equation.primitive.name == "dot_general":
            return [self._product(equation, operands)]
        return evaluated(equation, [self._used(one) for one in operands])

    def _used(self, operand: Any) -> Any:
        """Return an operand as an array, for anything but a product."""
        if not isinstance(operand, _Parameter):
            return operand
        self.uses.setdefault(operand.number, []).append(None)
        return operand.value

    def _product(self, equation: JaxprEqn, operands: list[Any]) -> Array:
        """Return a product, with the probe of its parameter if it has one."""
        sides = [i for i, one in enumerate(operands) if isinstance(one, _Parameter)]
        other = 1 - sides[0] if len(sides) == 1 else None
        if other is None or not _is_vector(equation, other, operands[other]):
            return evaluated(equation, [self._used(one) for one in operands])[0]
        parameter, vector = operands[sides[0]], operands[other]
        arrays = [one.value if one is parameter else one for one in operands]
        found = evaluated(equation, arrays)[0]
        self.uses.setdefault(parameter.number, []).append(jax.ShapeDtypeStruct(found.shape, found.dtype))
        if parameter.number in self.probes:
            # Its own order of axes would do for a norm; inner products need but the same order at every point.
            self.inputs[parameter.number] = vector.reshape(-1)
            found = found + self.probes[parameter.number]
        return found


def _is_vector(equation: JaxprEqn, side: int, operand: Any) -> bool:
    """Whether a product is of all of this operand with a parameter: no batch, and no axis but those summed over."""
    contracted, batch = equation.params["dimension_numbers"]
    summed = math.prod(operand.shape[axis] for axis in contracted[side])
    return not batch[side] and summed == math.prod(operand.shape)
