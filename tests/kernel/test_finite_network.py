"""The finite network against its own infinite-width kernels, at the rate of Monte Carlo."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracle_accuracy
import pytest

import ntkspec as ns
from ntkspec.kernel import MLP, Numerical
from ntkspec.kernel.activation import named

SEEDS = 32
CASES = {
    "ntk": {"W_std": 2**0.5, "b_std": 0.4, "parametrization": "ntk"},
    "standard": {"W_std": 1.1, "b_std": 0.2, "parametrization": "standard"},
}
POINTS = np.array([[0.0], [0.13], [0.4]])


def composed(name, width, depth=2):
    return ns.kernel.compose(ns.mapping.power_law(4, p=0.5), ns.kernel.MLP(depth=depth, width=width, **CASES[name]))


@partial(jax.jit, static_argnames=("count", "outputs"))
def empirical(k, key, count, outputs=128):
    """Empirical NTK (seed, n, n) from the Jacobian, and covariance of the outputs (seed, n, n)."""

    def one(key):
        wide = k.apply(k.init(key, outputs), POINTS)
        params = k.init(key)
        jacobian = jax.jacrev(lambda p: k.apply(p, POINTS)[:, 0])(params)
        rows = jnp.concatenate([leaf.reshape(len(POINTS), -1) for leaf in jax.tree.leaves(jacobian)], axis=1)
        return rows @ rows.T, wide @ wide.T / outputs

    return jax.lax.map(one, jax.random.split(key, count))


@pytest.mark.parametrize("name", CASES)
def test_empirical_kernels_average_to_the_analytic_ones(name, key):
    k = composed(name, width=256)
    for samples, analytic in zip(empirical(k, key, SEEDS), (k.ntk(POINTS), k.nngp(POINTS)), strict=True):
        samples, analytic = np.asarray(samples), np.asarray(analytic)
        error = samples.std(axis=0, ddof=1) / SEEDS**0.5
        # 4.5 standard errors over 6 entries, and the bias of a finite width, of order depth/width.
        assert (abs(samples.mean(axis=0) - analytic) < 4.5 * error + 2 / 256 * analytic.max()).all()
        # The measurement itself must be sharp enough to mean something.
        assert (error < 0.06 * analytic.max()).all()


RAW = np.array([[0.9, -0.3], [0.5, 0.8], [-0.2, 1.1]])
WIDTH, OUTPUTS, SAMPLES = 256, 64, 24


@partial(jax.jit, static_argnames="parametrization")
def draws(parametrization, W_std, b_std):
    """Parameters of random networks, which do not depend on the activation."""
    net = MLP(2, "relu", W_std, b_std, parametrization, WIDTH)
    return jax.vmap(lambda key: net.init(key, RAW.shape[1], OUTPUTS))(jax.random.split(jax.random.key(7), SAMPLES))


@jax.jit
def grams(net, params):
    """Of each network: (2n, 2n) of the Jacobians of two outputs, of all layers and of the last; (n, n) of outputs."""

    def one(params):
        jacobian = jax.jacrev(lambda p: net.apply(p, RAW)[:, :2].T.ravel())(params)
        rows = [jnp.concatenate([leaf.reshape(2 * len(RAW), -1) for leaf in l.values()], axis=1) for l in jacobian]
        each = jnp.stack([row @ row.T for row in rows])
        outputs = net.apply(params, RAW)
        return each.sum(0), each[-1], outputs @ outputs.T / OUTPUTS

    return jax.lax.map(one, params)


@jax.jit
def analytic(net):
    norm = jnp.sqrt(jnp.sum(RAW**2, axis=1))
    q, versine = norm**2 / RAW.shape[1], 1 - (RAW / norm[:, None]) @ (RAW / norm[:, None]).T
    return net.kernels(q[:, None], q[None], versine, RAW.shape[1])


def crossed(name, parametrization):
    # A quadrature compiles for seconds, and the parametrization is none of its business: tanh speaks for the others.
    slow = isinstance(named(name), Numerical) and name != "tanh" and parametrization == "standard"
    return pytest.param(name, parametrization, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(
    ("name", "parametrization"), [crossed(name, p) for name in oracle_accuracy.names() for p in CASES]
)
def test_every_activation_has_the_kernels_of_its_finite_network(name, parametrization):
    """NNGP and NTK, of all layers and of the last, and no kernel between two outputs: Θ ⊗ I."""
    scale = oracle_accuracy.SCALES.get(name, 1.0)
    options = {"W_std": 1.2 * scale, "b_std": 0.3 * scale, "parametrization": parametrization}
    net = MLP(depth=2, activation=named(name), width=WIDTH, **options)
    both, last, nngp = (np.asarray(a) for a in grams(net, draws(parametrization, options["W_std"], options["b_std"])))
    exact = [np.asarray(k) for k in analytic(net)]
    n = len(RAW)
    # Θ of the last layer: its features' second moments, in the units of each parametrization.
    moments = (exact[0] - options["b_std"] ** 2) / options["W_std"] ** 2
    final = exact[0] if parametrization == "ntk" else WIDTH * moments + 1
    cases = [(nngp, exact[0]), (last[:, :n, :n], final), (last[:, n:, n:], final), (last[:, :n, n:], 0 * final)]
    if named(name).differentiable:
        cases += [(both[:, :n, :n], exact[1]), (both[:, n:, n:], exact[1]), (both[:, :n, n:], 0 * exact[1])]
    for k, (samples, expected) in enumerate(cases):
        error = samples.std(axis=0, ddof=1) / SAMPLES**0.5
        size = abs(exact[1] if k > 3 else (final if k else exact[0])).max()
        # Five standard errors of a Student's t, and the bias of a finite width, of order depth/width.
        assert (abs(samples.mean(axis=0) - expected) < 5.5 * error + 4 / WIDTH * size).all(), k
        assert (error < 0.12 * size).all(), k


def test_fluctuations_of_the_kernel_shrink_as_the_root_of_the_width(key):
    spread = {}
    for width in (16, 256):
        samples, _ = empirical(composed("ntk", width), key, SEEDS)
        spread[width] = float(jnp.std(samples[:, 0, 0]))
    # √16 = 4; each of two standard deviations of 32 samples is known to 13 %, so their ratio to 18 %.
    assert 2.4 < spread[16] / spread[256] < 6.5


def test_init_follows_the_parametrization(key):
    k = composed("standard", 400)
    first, second, last = k.init(key, outputs=3)
    assert [p["w"].shape for p in (first, second, last)] == [(8, 400), (400, 400), (400, 3)]
    assert [p["b"].shape for p in (first, second, last)] == [(400,), (400,), (3,)]
    # 160,000 draws: 0.2 %; 400 draws: 3.5 %.
    assert float(second["w"].std()) == pytest.approx(1.1 / 400**0.5, rel=0.01)
    assert float(second["b"].std()) == pytest.approx(0.2, rel=0.15)
    for p in composed("ntk", 400).init(key)[:2]:
        assert float(p["w"].std()) == pytest.approx(1, rel=0.08)


def test_init_is_reproducible_and_keys_differ(key):
    k = composed("ntk", 8)
    one, same, other = k.init(key), k.init(key), k.init(jax.random.key(1))
    np.testing.assert_array_equal(one[1]["w"], same[1]["w"])
    assert not np.allclose(one[1]["w"], other[1]["w"])


@pytest.mark.parametrize("name", CASES)
def test_apply_is_the_formula_layer_by_layer(name, key):
    k = composed(name, 8, depth=1)
    first, last = k.init(key, outputs=2)
    gains, shift = (1, 1), 1
    if name == "ntk":
        gains, shift = (2**0.5 / 8**0.5, 2**0.5 / 8**0.5), 0.4
    hidden = np.maximum(gains[0] * np.asarray(k.mapping(POINTS)) @ first["w"] + shift * first["b"], 0)
    expected = gains[1] * hidden @ last["w"] + shift * last["b"]
    np.testing.assert_allclose(k.apply([first, last], POINTS), expected, rtol=1e-13)


def test_apply_keeps_the_parameters_precision(key):
    k = composed("ntk", 8)
    params = jax.tree.map(lambda leaf: leaf.astype("float32"), k.init(key))
    assert k.apply(params, POINTS).dtype == np.float32
