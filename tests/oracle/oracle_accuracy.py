"""How far every activation's expectations and networks are from mpmath and from neural-tangents."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle_dual
import oracle_network
from mpmath import mp
from oracle_dual import exact

from ntkspec.kernel import MLP
from ntkspec.kernel.activation import ACTIVATIONS, Pair, named

DEPTH = 2
VERSINES = [1e-16, 1e-12, 1e-8, 1e-4, 0.1, 0.7, 1.0, 1.3, 1.9, 2 - 1e-4, 2 - 1e-8, 2 - 1e-12]
SECONDS = [(1.0, 1.0), (0.5, 0.8)]
CASES = [(q_x, q_z, v) for q_x, q_z in SECONDS for v in VERSINES]
BIASES = (0.0, 0.3)
#: What neural-tangents is compared on: it loses digits where points nearly coincide or are nearly opposite.
POINTS = np.random.default_rng(0).standard_normal((6, 4)) * np.geomspace(0.3, 1.5, 6)[:, None]
#: SIREN draws its weights with √(6/n)/ω₀, that is W_std = √2/ω₀.
SCALES = {"siren": 2**0.5 / 30}


def names():
    """The rows, one for each function: swish is silu."""
    return [name for name in ACTIVATIONS if name != "swish"]


@jax.jit
def dual(activation, q_x, q_z, v):
    """E[φφ], its versine and second moments, and E[φ'φ'], broadcast."""
    pair, derivative = activation.dual(Pair.of_versine(q_x, q_z, v))
    return jax.tree.map(lambda a: jnp.broadcast_to(a, v.shape), (pair, jnp.asarray(derivative, dtype=float)))


@jax.jit
def network(activation, W_std, b_std, q_x, q_z, v):
    return MLP(depth=DEPTH, activation=activation, W_std=W_std, b_std=b_std).kernels(q_x, q_z, v, 3)


def against_mpmath(name):
    """Worst errors of E[φφ], E[φ'φ'], NNGP and NTK, each relative to √(k(x, x) k(z, z)); None where there is none."""
    activation, scale = named(name), SCALES.get(name, 1.0)
    q_x, q_z, v = (np.array(column) for column in zip(*CASES, strict=True))
    pair, derivative = dual(activation, scale**2 * q_x, scale**2 * q_z, v)
    with mp.workdps(oracle_dual.DIGITS):
        found = [[a, b] for a, b in zip(pair.covariance, derivative, strict=True)]
        reference = [
            [oracle_network.expectations(name, *(exact(a) for a in case)) for case in _moved(x, z, v)]
            for x, z, v in ((scale**2 * x, scale**2 * z, v) for x, z, v in CASES)
        ]
        errors = [_worst(found, reference)]
        for bias in BIASES:
            both = network(activation, scale, bias * scale, q_x, q_z, v)
            ask = functools.partial(oracle_network.mlp, name, depth=DEPTH, W_std=scale, b_std=bias * scale)
            reference = [[ask(*case) for case in _moved(*case)] for case in CASES]
            errors.append(_worst(list(zip(*both, strict=True)), reference))
    dual_error, *network_errors = errors
    worst = [*dual_error, *(max(pair) for pair in zip(*network_errors, strict=True))]
    return [error if activation.differentiable or i % 2 == 0 else None for i, error in enumerate(worst)]


def _moved(q_x, q_z, v):
    """The pair, and each of its points with itself."""
    return (q_x, q_z, v), (q_x, q_x, 0.0), (q_z, q_z, 0.0)


def _worst(found, reference):
    return [
        max(
            float(abs(float(values[k]) - pair[k]) / mp.sqrt(abs(x[k] * z[k])))
            for values, (pair, x, z) in zip(found, reference, strict=True)
        )
        for k in (0, 1)
    ]


def against_tangents(name):
    """Worst errors of NNGP and NTK, relative as above; None where neural-tangents has no kernel."""
    if oracle_network.stax_layer(name) is None:
        return [None, None]
    activation, scale = named(name), SCALES.get(name, 1.0)
    norm = np.sqrt(np.sum(POINTS**2, axis=1))
    unit, q = POINTS / norm[:, None], norm**2 / POINTS.shape[1]
    away = ~np.eye(len(POINTS), dtype=bool)
    worst = []
    options = {"W_std": 1.2 * scale, "b_std": 0.3 * scale}
    ours = network(activation, *options.values(), q[:, None], q[None], 1 - unit @ unit.T)
    theirs = oracle_network.tangents(name, POINTS, POINTS, depth=DEPTH, **options)
    for own, other in zip(ours, theirs, strict=True):
        if other is None:
            worst.append(None)
            continue
        size = np.sqrt(np.outer(np.diag(other), np.diag(other)))
        worst.append(float((abs(own - other) / size)[away].max()))
    return worst
