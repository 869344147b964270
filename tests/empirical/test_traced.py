"""Factors found in a trace: the Jacobian that jax has, and a product wherever there is one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkspec as ns
from ntkspec.empirical._traced import factors_of

X = np.random.default_rng(0).standard_normal(3)
RANDOM = np.random.default_rng(1)
A, B, T = (RANDOM.standard_normal(shape) for shape in ((3, 3), (3, 2), (3, 2, 2)))


def scanned(p, x):
    return jax.lax.scan(lambda h, _: (jnp.tanh(h @ p["a"]), None), x, length=2)[0]


#: By what happens to the parameters: (params, x) -> outputs, and for which of them there is a product of vectors.
FUNCTIONS = {
    "dense": (lambda p, x: jnp.tanh(x @ p["a"]) @ p["b"], {"a", "b"}),
    "transposed": (lambda p, x: p["b"].T @ jnp.tanh(p["a"] @ x), {"a"}),
    "within jit": (lambda p, x: jax.jit(lambda a, h: jax.nn.relu(h @ a))(p["a"], x) @ p["b"], {"a", "b"}),
    "two axes": (lambda p, x: jnp.tensordot(jnp.outer(x, x[:2]), p["t"], axes=((0, 1), (0, 1))), {"t"}),
    "shared": (lambda p, x: jnp.tanh(x @ p["a"]) @ p["a"], set()),
    "several rows": (lambda p, x: (jnp.stack([x, 2 * x**2]) @ p["b"]).sum(axis=0), set()),
    "a loop": (scanned, set()),
    "with itself": (lambda p, x: x * jnp.diag(p["a"] @ p["a"]), set()),
    "changed before": (lambda p, x: x @ p["a"] ** 2, set()),
    "the outputs": (lambda p, x: p["b"][0] + 0 * x[:2], set()),
    "checkpointed": (jax.checkpoint(lambda p, x: jnp.sin(x @ p["a"])), set()),
    "linearised": (lambda p, x: jax.jvp(lambda a: jnp.sin(x @ a), (jnp.ones((3, 3)),), (p["a"],))[1], {"a"}),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_factors_multiply_to_the_jacobian(name):
    function, products = FUNCTIONS[name]
    params = {"a": A, "b": B, "t": T, "unused": np.ones(2)}
    expected = jax.jacrev(function)(params, X)
    outputs = len(function(params, X))
    assert {
        key for key, f in zip(sorted(params), factors_of(function, params, X), strict=True) if f.inputs.size > 1
    } == products
    other = X[::-1] + 0.5
    there, elsewhere = (
        jax.jit(lambda p, x: factors_of(function, p, x))(params, other),
        jax.jacrev(function)(params, other),
    )
    # The kernel of two points, of each pair of outputs, is what factors are for.
    for key, a, b in zip(sorted(params), factors_of(function, params, X), there, strict=True):
        found = (a.inputs @ b.inputs) * np.einsum("cp,dp->cd", a.signals, b.signals)
        here, away = (np.asarray(j[key]).reshape(outputs, -1) for j in (expected, elsewhere))
        np.testing.assert_allclose(found, here @ away.T, rtol=1e-12, atol=1e-13)


def test_a_dense_network_of_stax_takes_no_memory_of_its_weights():
    stax = ns.kernel.stax.load().stax
    net = ns.kernel.from_stax(
        *stax.serial(stax.Dense(64, b_std=0.1), stax.Erf(), stax.Dense(64), stax.Relu(), stax.Dense(1))
    )
    params = net.init(jax.random.key(0), 3)
    found = factors_of(lambda p, x: net.apply(p, x[None])[0], params, X)
    # Inputs and signals of three products, and a bias; the second matrix alone has 4,096 entries.
    assert sum(f.inputs.size + f.signals.size for f in found) <= 2 * (3 + 64 + 64 + 64 + 64 + 1) + 65 + 2
