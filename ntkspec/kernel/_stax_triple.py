"""The three functions of a neural-tangents network, tried on shapes before they are accepted."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

#: Shapes of one input, tried in this order; positions enough for a few poolings. Only shapes are computed.
INPUT_SHAPES = ((3,), (32, 3), (32, 32, 3), (16, 16, 16, 3))
ORDER = "pass what stax.serial returns, in its order: from_stax(*stax.serial(...)) is init_fn, apply_fn, kernel_fn"
DRAWS = "a layer that draws random numbers must not, as in stax.Dropout(rate, mode='test')"
POSITIONS = "end a network of spatial positions with stax.Flatten() or stax.GlobalAvgPool(), then stax.Dense(...)"
#: What each function is called with.
CALLS = {
    "init_fn": ("key", "input_shape"),
    "apply_fn": ("params", "x"),
    "kernel_fn": ("x", "z", "get"),
}


class Triple(NamedTuple):
    """init_fn, apply_fn, kernel_fn, as every layer of stax is."""

    init_fn: Callable
    apply_fn: Callable
    kernel_fn: Callable


class _Refused(Exception):
    """Why an input will not do, and the stage that the triple reached: the furthest refusal says most."""

    def __init__(self, stage: int, kind: type[Exception], message: str) -> None:
        super().__init__(message)
        self.stage, self.kind = stage, kind


def examine(triple: Triple, input_shape: int | tuple[int, ...] | None) -> dict[str, Any]:
    """Try a triple on the shape of one input, or on `INPUT_SHAPES`; return fields of `StaxNetwork` by name."""
    for name, arguments in CALLS.items():
        _check_signature(name, getattr(triple, name), arguments)
    given = (input_shape,) if isinstance(input_shape, int) else input_shape
    shapes = INPUT_SHAPES if given is None else (tuple(given),)
    refusals = []
    for shape in shapes:
        try:
            return _try(triple, shape)
        except _Refused as refusal:
            refusals.append(refusal)
    furthest = max(refusals, key=lambda refusal: refusal.stage)
    message = str(furthest)
    if furthest.stage == 0 and input_shape is None:
        others = ", ".join(str((2, *shape)) for shape in shapes[1:])
        message += f"; nor did it take {others}: if it takes one size only, say input_shape=(...), that of one input"
    raise furthest.kind(message) from furthest.__cause__


def _check_signature(name: str, function: Any, arguments: tuple[str, ...]) -> None:
    if not callable(function):
        raise TypeError(f"`{name}` is a {type(function).__name__}; expected a function: {ORDER}")
    try:
        signature = inspect.signature(function)
    # A compiled function may have none to show; it is tried like the others.
    except ValueError:
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        takes, expected = ", ".join(signature.parameters), ", ".join(arguments)
        raise TypeError(f"`{name}` takes ({takes}); expected ({expected}): {ORDER}") from error


def _try(triple: Triple, shape: tuple[int, ...]) -> dict[str, Any]:
    x = jax.ShapeDtypeStruct((2, *shape), jnp.result_type(float))
    nngp = _kernel_shape(triple.kernel_fn, x, "nngp")
    if nngp != (2, 2):
        got = f"kernel_fn gives two inputs of shape {shape} a kernel of shape {nngp}"
        raise _Refused(2, ValueError, f"{got}; expected (2, 2): {POSITIONS}")
    return {
        "input_shape": shape,
        "width": _finite_width(triple, shape, x),
        "linear_output": _ends_linear(triple.kernel_fn, x),
        "ntk_problem": _ntk_problem(triple.kernel_fn, x),
    }


def _kernel_shape(kernel_fn: Callable, x: jax.ShapeDtypeStruct, which: str) -> tuple[int, ...]:
    call = f"kernel_fn(x, None, ('{which}',))"
    try:
        out = jax.eval_shape(lambda x: kernel_fn(x, None, (which,)), x)
    # Somebody else's function may raise anything.
    except Exception as error:
        message = f"{call} raised for x of shape {x.shape}: {_first_line(error)}; {ORDER}"
        raise _Refused(0, ValueError, message) from error
    if not hasattr(out, which):
        what = f"an array of shape {out.shape}" if hasattr(out, "shape") else f"a {type(out).__name__}"
        raise _Refused(1, TypeError, f"{call} returned {what}; expected an object with the field `{which}`: {ORDER}")
    return getattr(getattr(out, which), "shape", None) or ()


def _ntk_problem(kernel_fn: Callable, x: jax.ShapeDtypeStruct) -> str | None:
    try:
        shape = _kernel_shape(kernel_fn, x, "ntk")
    except _Refused as refusal:
        return str(refusal)
    return None if shape == (2, 2) else f"kernel_fn gives one of shape {shape}, as where there is nothing to train"


def _ends_linear(kernel_fn: Callable, x: jax.ShapeDtypeStruct) -> bool:
    """Whether neural-tangents says that the outputs are Gaussian; true where it does not say."""
    is_gaussian = [True]
    # A wrapped kernel_fn returns no Kernel.
    with contextlib.suppress(Exception):
        jax.eval_shape(lambda x: is_gaussian.append(bool(kernel_fn(x, None, None).is_gaussian)), x)
    return is_gaussian[-1]


def _finite_width(triple: Triple, shape: tuple[int, ...], x: jax.ShapeDtypeStruct) -> int | None:
    """Units of the narrowest hidden layer, 0 without one; None without a finite network."""
    promised: list[tuple[int, ...]] = []

    def init(key: Any) -> Any:
        out_shape, params = triple.init_fn(key, (-1, *shape))
        promised.append(tuple(out_shape))
        return params

    key = jax.eval_shape(lambda: jax.random.key(0))
    try:
        params = _tried("init_fn(key, input_shape)", shape, ORDER, init, key)
        outputs = _tried("apply_fn(params, x)", shape, DRAWS, triple.apply_fn, params, x)
    # What neural-tangents raises where a layer has a kernel only.
    except NotImplementedError:
        return None
    got = getattr(outputs, "shape", ())
    if len(got) != 2 or got != (2, *promised[-1][1:]):
        outputs_are = f"outputs of shape {got} where init_fn promised {promised[-1]}; expected (2, outputs) of both"
        raise _Refused(3, ValueError, f"apply_fn gives two inputs of shape {shape} {outputs_are}: {ORDER}")
    return _narrowest([leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim >= 2])


def _tried(call: str, shape: tuple[int, ...], hint: str, function: Callable, *arguments: Any) -> Any:
    """Return the shapes that a function returns."""
    try:
        return jax.eval_shape(function, *arguments)
    except NotImplementedError:
        raise
    except Exception as error:
        message = f"{call} raised for inputs of shape {shape}: {_first_line(error)}; {hint}"
        raise _Refused(3, ValueError, message) from error


def _narrowest(shapes: list[tuple[int, ...]]) -> int:
    """Return the smallest last axis of weights (..., fan_in, fan_out) and biases (1, ..., fan_out) of hidden layers."""
    in_last_layer = 2 if shapes and set(shapes[-1][:-1]) == {1} else 1
    return min((shape[-1] for shape in shapes[:-in_last_layer]), default=0)


def _first_line(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first.removesuffix('.')}"
