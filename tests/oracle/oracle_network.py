"""NNGP and NTK of a network of any activation: in 30 digits and more from the definitions, and by neural-tangents."""

import functools

import numpy as np
import oracle_dual
from mpmath import mp, mpf
from oracle_dual import exact

import ntkspec as ns

#: The Hermite sums of a smooth φ for second moments up to 1: digits, terms, and the trapezoidal rule on ±12.
DIGITS, TERMS, STEPS = 30, 224, 100
EDGE = 12


def mlp(name, q_x, q_z, v, *, depth, W_std, b_std, parametrization="ntk", width=None, fan_in=1):
    """NNGP and NTK from mean squares and versine of the inputs; theory as in Lee et al. 2019."""
    with mp.workdps(oracle_dual.DIGITS if name in oracle_dual.CLOSED else DIGITS):
        W2, b2 = exact(W_std) ** 2, exact(b_std) ** 2
        k_xx, k_zz = exact(q_x), exact(q_z)
        k_xz = mp.sqrt(k_xx * k_zz) * (1 - exact(v))
        theta = mpf(0)
        for layer in range(depth + 1):
            if layer:
                versine = min(max(1 - k_xz / mp.sqrt(k_xx * k_zz), mpf(0)), mpf(2))
                k_xz, slope = expectations(name, k_xx, k_zz, versine)
                k_xx, k_zz, theta = second(name, k_xx), second(name, k_zz), theta * slope
            before = k_xz
            k_xx, k_zz, k_xz = W2 * k_xx + b2, W2 * k_zz + b2, W2 * k_xz + b2
            own = k_xz if parametrization == "ntk" else (width if layer else fan_in) * before + 1
            theta = own + W2 * theta
        return k_xz, theta


def second(name, q):
    return expectations(name, q, q, mpf(0))[0]


def expectations(name, x, z, v):
    """E[φφ] and E[φ'φ'], of multiple-precision numbers."""
    if name in oracle_dual.CLOSED:
        return oracle_dual.CLOSED[name](x, z, v)
    powers = [mpf(1)]
    for _ in range(TERMS - 1):
        powers.append(powers[-1] * (1 - v))
    return tuple(
        mp.fdot(powers, [p * q for p, q in zip(of_x, of_z, strict=True)])
        for of_x, of_z in zip(_coefficients(name, x), _coefficients(name, z), strict=True)
    )


@functools.cache
def _basis():
    """Nodes, and rows He_k(z)/√k! times the normal density and the step; even or odd in z, so half of the nodes."""
    with mp.workdps(DIGITS):
        step = mpf(EDGE) / STEPS
        nodes = [k * step for k in range(STEPS + 1)]
        now = [mp.npdf(z) * step * (1 if k else mpf(1) / 2) for k, z in enumerate(nodes)]
        before, rows = [mpf(0)] * len(nodes), []
        for k in range(TERMS):
            rows.append(now)
            root, scale = mp.sqrt(k), 1 / mp.sqrt(k + 1)
            before, now = now, [(z * b - root * a) * scale for z, a, b in zip(nodes, before, now, strict=True)]
        return nodes, rows


@functools.lru_cache(maxsize=256)
def _coefficients(name, q):
    """Hermite coefficients of φ(√q ·) and φ'(√q ·)."""
    nodes, rows = _basis()
    sigma, found = mp.sqrt(q), []
    for function in oracle_dual.SMOOTH[name]:
        values = [(function(sigma * z), function(-sigma * z)) for z in nodes]
        folded = [[a + b for a, b in values], [a - b for a, b in values]]
        found.append([mp.fdot(folded[k % 2], row) for k, row in enumerate(rows)])
    return found


def stax_layer(name):
    """neural-tangents' layer for an activation, or None where it has none with an analytic kernel."""
    stax = ns.kernel.stax.load().stax
    layers = {
        "identity": stax.Identity,
        "relu": stax.Relu,
        "leaky_relu": lambda: stax.LeakyRelu(0.01),
        "abs": stax.Abs,
        "sign": stax.Sign,
        "erf": stax.Erf,
        "gelu": stax.Gelu,
        "sin": stax.Sin,
        "cos": stax.Cos,
        "siren": lambda: stax.Sin(b=30.0),
        "rbf": stax.Rbf,
        "gaussian": stax.Gaussian,
    }
    return layers[name]() if name in layers else None


def tangents(name, x, z, *, depth, W_std, b_std, parametrization="ntk", width=8):
    """NNGP and NTK by neural-tangents; the NTK of a sign, which it takes for zero beyond the last layer, is dropped."""
    stax = ns.kernel.stax.load().stax
    dense = functools.partial(stax.Dense, W_std=W_std, b_std=b_std, parameterization=parametrization)
    hidden = [part for _ in range(depth) for part in (dense(width), stax_layer(name))]
    both = stax.serial(*hidden, dense(1))[2](x, z, ("nngp", "ntk"))
    return np.asarray(both.nngp), None if name == "sign" else np.asarray(both.ntk)
