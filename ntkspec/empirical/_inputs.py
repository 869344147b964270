"""Inputs of this room: a network alone or behind a mapping, parameters that are its own, and points."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ntkspec.checks import check_numbers, check_points
from ntkspec.kernel import ComposedKernel, Network


class Behind(NamedTuple):
    """A network and the inputs that it sees.

    Attributes:
        network: the finite network.
        points: as they were given, shape (n, d), or (n, ...) for a network on raw inputs.
        features: what the network takes, shape (n, p), or the points themselves.
    """

    network: Network
    points: Array
    features: Array


def behind(k: ComposedKernel | Network, x: ArrayLike, name: str = "x") -> Behind:
    """Return the network of `k`, and points with their features, checked."""
    if isinstance(k, ComposedKernel):
        points = check_points(x, k.dim)
    elif isinstance(k, Network):
        points = check_numbers(
            "inputs", x, "shape (n, p), one row an input", "give real and imaginary parts as features of their own"
        )
        if points.ndim < 2 or not bool(jnp.isfinite(points).all()):
            raise ValueError(f"`{name}` has shape {points.shape}; expected finite inputs (n, p), one row an input")
    else:
        raise TypeError(f"`k` is a {type(k).__name__}; expected a network, alone or behind a mapping")
    if len(points) == 0:
        raise ValueError(f"`{name}` holds no points; expected at least one row")
    return Behind(network_of(k), points, features_of(k, points))


def network_of(k: ComposedKernel | Network) -> Network:
    """Return the finite network of a kernel."""
    return k.network if isinstance(k, ComposedKernel) else k


def features_of(k: ComposedKernel | Network, points: Array) -> Array:
    """Return what the network of `k` sees of points."""
    return k.mapping(points) if isinstance(k, ComposedKernel) else points


def num_outputs(network: Network, params: Any, features: Array) -> int:
    """Return the number of outputs of a network with these parameters, if they are those of one on such inputs."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        if not jnp.issubdtype(getattr(leaf, "dtype", object), jnp.floating):
            leaf_is = f"params{jax.tree_util.keystr(path)} is {getattr(leaf, 'dtype', f'a {type(leaf).__name__}')}"
            raise TypeError(f"{leaf_is}; expected arrays of floating-point numbers, as of k.init(key)")
    dim = features.shape[1] if features.ndim == 2 else features.shape[1:]
    outputs = _outputs(network, params, features)
    expected, given = (_described(tree) for tree in (_init.eval_shape(network, dim, outputs), params))
    if given != expected or outputs is None:
        raise _mismatch(given, expected, features)
    return outputs


def _mismatch(given: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]], features: Array) -> ValueError:
    """Return the error that names the first difference."""
    deeper = given.keys() == expected.keys() and all(len(shape) == len(expected[n]) + 1 for n, shape in given.items())
    if deeper and len(counts := {shape[0] for shape in given.values()}) == 1:
        return ValueError(
            f"the parameters are those of {counts.pop()} networks, stacked along a leading axis; expected those of "
            "one: jax.tree.map(lambda leaf: leaf[0], params) takes the first"
        )
    difference, wanted = "params give no outputs (n, outputs)", "a matrix"
    # A missing or an extra name comes before a shape.
    for name in sorted(expected | given, key=lambda name: name in expected and name in given):
        if given.get(name) != expected.get(name):
            difference = f"{name} {f'has shape {given[name]}' if name in given else 'is missing'}"
            wanted = str(expected.get(name, "none of that name"))
            break
    return ValueError(
        f"the parameters are not of this network on inputs {tuple(features.shape)}: {difference}, expected {wanted}; "
        "take those of k.init(key), or the network that they were made for"
    )


def num_stacked(network: Network, params: Any, features: Array) -> tuple[int, int]:
    """Return the number of networks in stacked parameters, and the number of outputs of each."""
    counts = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(params)}
    if len(counts) != 1 or counts == {()}:
        stacked = "jax.tree.map(lambda leaf: leaf[None], params)"
        raise ValueError(f"the parameters do not share a leading axis, one entry a network; of one network: {stacked}")
    ((count,),) = counts
    return count, num_outputs(network, jax.tree.map(lambda leaf: leaf[0], params), features)


def check_output(output: int | None, outputs: int) -> None:
    """Refuse an output that is not there; None is their mean."""
    whole = isinstance(output, int | np.integer) and not isinstance(output, bool)
    if output is not None and not (whole and 0 <= output < outputs):
        raise ValueError(f"output={output!r}; expected None, the mean over outputs, or the number of one of {outputs}")


# Of compiled functions the shapes are kept: a check that has been made before traces nothing.
@partial(jax.jit, static_argnames=("dim", "outputs"))
def _init(network: Network, dim: int | tuple[int, ...], outputs: int | None) -> Any:
    return network.init(jax.random.key(0), dim, *(() if outputs is None else (outputs,)))  # type: ignore[arg-type]  # a shape, where one is taken


@jax.jit
def _apply(network: Network, params: Any, features: Array) -> Array:
    return network.apply(params, features)


def _outputs(network: Network, params: Any, features: Array) -> int | None:
    """Return the number of outputs, if the parameters give any: shapes alone are computed."""
    two = jax.ShapeDtypeStruct((2, *features.shape[1:]), features.dtype)
    try:
        shape = _apply.eval_shape(network, params, two).shape
    # Foreign parameters may fail in any way; the comparison names what is wrong with them.
    except Exception:
        return None
    return shape[1] if len(shape) == 2 and shape[0] == 2 else None


def _described(params: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape of each leaf by its path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {f"params{jax.tree_util.keystr(path)}": tuple(np.shape(leaf)) for path, leaf in leaves}
