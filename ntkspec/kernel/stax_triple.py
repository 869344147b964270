"""The three functions of a neural-tangents network: what they are tried on before they are accepted."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["Examined", "Triple", "examine"]

#: Shapes of one input, tried in this order; positions enough for a few poolings. Only shapes are computed.
INPUT_SHAPES = ((3,), (32, 3), (32, 32, 3), (16, 16, 16, 3))
HINT = (
    "pass what stax.serial returned, in its order: from_stax(*stax.serial(...)), that is init_fn, apply_fn, kernel_fn"
)


class Triple(NamedTuple):
    """init_fn, apply_fn, kernel_fn, as every layer of stax is."""

    init_fn: Callable
    apply_fn: Callable
    kernel_fn: Callable


class Examined(NamedTuple):
    """What trying told about a triple; see `StaxNetwork`."""

    input_shape: tuple[int, ...]
    width: int | None
    linear_output: bool
    ntk_problem: str | None


class _Refused(Exception):
    """Why an input will not do; the further a triple got, the more it tells."""

    def __init__(self, stage: int, kind: type[Exception], message: str) -> None:
        super().__init__(message)
        self.stage, self.kind = stage, kind


def examine(triple: Triple, input_shape: tuple[int, ...] | None) -> Examined:
    """Try a triple on the shapes of inputs.

    Args:
        triple: the three functions.
        input_shape: shape of one input; None tries `INPUT_SHAPES`.

    Returns:
        What is known of it then.

    Raises:
        TypeError: if a function is no function, takes other arguments or returns something else.
        ValueError: if no input will do.
    """
    _check_signatures(triple)
    refusals = []
    for shape in INPUT_SHAPES if input_shape is None else (tuple(input_shape),):
        try:
            return _try(triple, shape)
        except _Refused as refusal:
            refusals.append(refusal)
    worst = max(refusals, key=lambda refusal: refusal.stage)
    raise worst.kind(str(worst)) from worst.__cause__


def _check_signatures(triple: Triple) -> None:
    for name, arguments in (("init_fn", ("key", "shape")), ("apply_fn", ("params", "x")), ("kernel_fn", "xzg")):
        function = getattr(triple, name)
        if not callable(function):
            raise TypeError(f"`{name}` is a {type(function).__name__}; expected a function: {HINT}")
        try:
            signature = inspect.signature(function)
        # Compiled functions may have none to show; they are tried below.
        except ValueError:
            continue
        try:
            signature.bind(*arguments)
        except TypeError as error:
            calls = {"init_fn": "(key, input_shape)", "apply_fn": "(params, x)", "kernel_fn": "(x, z, get)"}
            taken = ", ".join(signature.parameters)
            raise TypeError(f"`{name}` takes ({taken}); expected {calls[name]}: {HINT}") from error


def _try(triple: Triple, shape: tuple[int, ...]) -> Examined:
    x = jax.ShapeDtypeStruct((2, *shape), jnp.result_type(float))
    nngp = _field_of(triple.kernel_fn, x, "nngp")
    if isinstance(nngp, _Refused):
        raise nngp
    if nngp != (2, 2):
        raise _Refused(
            2,
            ValueError,
            f"kernel_fn gives two inputs of shape {shape} a kernel of shape {nngp}; expected (2, 2): where outputs "
            "keep spatial positions, end the network with stax.Flatten() or stax.GlobalAvgPool(), then stax.Dense(...)",
        )
    width = _finite_width(triple, shape, x)
    return Examined(shape, width, _ends_linear(triple.kernel_fn, x), _ntk_problem(triple.kernel_fn, x))


def _field_of(kernel_fn: Callable, x: jax.ShapeDtypeStruct, name: str) -> tuple[int, ...] | _Refused:
    """The shape of one field of what kernel_fn returns."""
    try:
        out = jax.eval_shape(lambda x: kernel_fn(x, None, (name,)), x)
    # Somebody else's function may raise anything.
    except Exception as error:
        refused = _Refused(
            0, ValueError, f"kernel_fn(x, None, ('{name}',)) raised for x of shape {x.shape}: {_said(error)}"
        )
        refused.__cause__ = error
        return refused
    if not hasattr(out, name):
        what = f"an array of shape {out.shape}" if hasattr(out, "shape") else f"a {type(out).__name__}"
        return _Refused(
            1,
            TypeError,
            f"kernel_fn(x, None, ('{name}',)) returned {what}; expected an object with the field `{name}`: {HINT}",
        )
    return getattr(getattr(out, name), "shape", None) or ()


def _ntk_problem(kernel_fn: Callable, x: jax.ShapeDtypeStruct) -> str | None:
    ntk = _field_of(kernel_fn, x, "ntk")
    if isinstance(ntk, _Refused):
        return str(ntk)
    return None if ntk == (2, 2) else f"kernel_fn gives one of shape {ntk}, for there is nothing in it to train"


def _ends_linear(kernel_fn: Callable, x: jax.ShapeDtypeStruct) -> bool:
    """Whether neural-tangents says that the outputs are Gaussian; true where it does not say."""
    said: list[bool] = []

    def ask(x: Any) -> None:
        said.append(bool(kernel_fn(x, None, None).is_gaussian))

    try:
        jax.eval_shape(ask, x)
    # A wrapped kernel_fn returns no Kernel.
    except Exception:
        return True
    return said[-1]


def _finite_width(triple: Triple, shape: tuple[int, ...], x: jax.ShapeDtypeStruct) -> int | None:
    """Units of the narrowest hidden layer, 0 without one; None without a finite network."""
    returned: list[Any] = []

    def both(key: Any, x: Any) -> Any:
        name, hint = "init_fn(key, input_shape)", HINT
        try:
            out_shape, params = triple.init_fn(key, (-1, *shape))
            returned.append(tuple(out_shape))
            name, hint = (
                "apply_fn(params, x)",
                "a layer that draws needs to be told not to: stax.Dropout(p, mode='test')",
            )
            return params, triple.apply_fn(params, x)
        except NotImplementedError:
            raise
        except Exception as error:
            message = f"{name} raised for inputs of shape {shape}: {_said(error)}; {hint}"
            raise _Refused(3, ValueError, message) from error

    try:
        params, outputs = jax.eval_shape(both, jax.eval_shape(lambda: jax.random.key(0)), x)
    # What neural-tangents raises where a layer has a kernel only.
    except NotImplementedError:
        return None
    got, promised = getattr(outputs, "shape", None), returned[-1]
    if got is None or len(got) != 2 or got != (2, *promised[1:]):
        message = f"apply_fn gives two inputs of shape {shape} outputs of shape {got} where init_fn promised {promised}"
        raise _Refused(3, ValueError, f"{message}; expected (2, outputs) of both")
    return _narrowest([leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim >= 2])


def _narrowest(shapes: list[tuple[int, ...]]) -> int:
    """The smallest last axis of weights (..., fan_in, fan_out) and biases (1, ..., fan_out) before the last layer."""
    in_last_layer = 2 if shapes and set(shapes[-1][:-1]) == {1} else 1
    return min((shape[-1] for shape in shapes[:-in_last_layer]), default=0)


def _said(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first.removesuffix('.')}"
