"""Every row of ``ACTIVATIONS`` against every property, and each family against its own closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle_accuracy
import oracle_dual
import oracle_mpmath
import oracle_network
import pytest
from mpmath import mp, mpf

import ntkspec as ns
from ntkspec.kernel import MLP, Erf, LeakyRelu, Numerical, Polynomial, Sign, compose
from ntkspec.kernel.activation import ACTIVATIONS, Pair, angles, named, safe_sqrt

EPS = np.finfo(np.float64).eps
NEAR = [0.0, 1e-30, 1e-16, 1e-12, 1e-8, 1e-4]
VERSINES = [*NEAR, 0.1, 0.45, 0.4597, 0.46, 0.9, 1.0, 1.1, 1.5, 1.9, 2 - 1e-4, 2 - 1e-8, 2 - 1e-12, 2.0]
SECONDS = [(1.0, 1.0), (1e-6, 1e-6), (100.0, 100.0), (1.3, 0.4), (1e-3, 30.0), (1.0, 1 + 1e-6)]
DIFFERENTIABLE = [name for name in oracle_accuracy.names() if named(name).differentiable]
NUMERICAL = sorted(oracle_dual.SMOOTH)


def make(name):
    return Polynomial(oracle_dual.POLYNOMIAL) if name == "polynomial" else named(name)


def dual_of(activation, q_x, q_z, versine):
    """What `activation.dual` says, through one compiled program for each kind of activation: always of one shape."""
    shape = np.broadcast_shapes(np.shape(q_x), np.shape(q_z), np.shape(versine))
    count, size = int(np.prod(shape)), len(oracle_accuracy.CASES)
    assert count <= size
    padded = (np.resize(np.broadcast_to(a, shape), size) for a in (q_x, q_z, versine))
    pair, derivative = oracle_accuracy.dual(activation, *padded)
    back = [np.asarray(a[:count]).reshape(shape) for a in (*pair, derivative)]
    return Pair(*back[:5]), back[5]


@pytest.fixture(params=oracle_accuracy.names())
def name(request):
    return request.param


def test_the_table_is_covered_by_references():
    assert set(ACTIVATIONS) == (set(oracle_dual.CLOSED) | set(NUMERICAL)) - {"polynomial"}


@pytest.mark.parametrize("name", sorted(oracle_dual.CLOSED))
@pytest.mark.parametrize("second", SECONDS)
def test_closed_forms_against_mpmath(name, second):
    q_x, q_z = (q / 100 for q in second) if name == "siren" else second
    pair, derivative = dual_of(make(name), q_x, q_z, VERSINES)
    with mp.workdps(oracle_dual.DIGITS):
        (s_x, d_x), (s_z, d_z) = (oracle_dual.closed(name, q, q, 0) for q in (q_x, q_z))
        norm, slope = mp.sqrt(s_x * s_z), mp.sqrt(abs(d_x * d_z))
        assert abs(mpf(float(pair.second_x[0])) / s_x - 1) < 4 * EPS
        assert abs(mpf(float(pair.second_z[0])) / s_z - 1) < 4 * EPS
        for i, v in enumerate(VERSINES):
            value, gradient = oracle_dual.closed(name, q_x, q_z, v)
            assert abs(float(pair.covariance[i]) - value) <= 8 * EPS * norm
            assert abs(float(pair.versine[i]) - (1 - value / norm)) <= 16 * EPS
            if name != "sign":
                assert abs(float(derivative[i]) - gradient) <= 8 * EPS * slope


# E[φφ] and E[φ'φ'] of these are good to their own size, however small.
@pytest.mark.parametrize("name", ["relu", "abs", "sign", "erf", "sin", "gaussian", "identity"])
def test_small_expectations_keep_their_digits(name):
    versines = [*VERSINES, 1 - 1e-9, 1 - 1e-14]
    # The covariance of the pair is rounded from the versine there, which is where 1 − v is exact.
    pair, derivative = dual_of(named(name), 1.0, 1.0, versines)
    for i, v in enumerate(versines):
        value, gradient = (float(e) for e in oracle_dual.closed(name, 1.0, 1.0, v))
        floor = 1e-60
        assert float(pair.covariance[i]) == pytest.approx(value, rel=1e-14, abs=floor)
        if name != "sign":
            assert float(derivative[i]) == pytest.approx(gradient, rel=1e-14, abs=floor)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "abs", "sign", "erf", "sin", "siren", "cos", "rbf", "gaussian"])
@pytest.mark.parametrize("q", [0.01, 1.3])
def test_small_versines_keep_their_digits(name, q):
    """Where the next layer is steep: the angle kernels, and smooth ones of a high frequency."""
    pair, _ = dual_of(named(name), q, q, NEAR)
    with mp.workdps(oracle_dual.DIGITS):
        second = oracle_dual.closed(name, q, q, 0)[0]
        expected = [float(1 - oracle_dual.closed(name, q, q, v)[0] / second) for v in NEAR]
    np.testing.assert_allclose(pair.versine, expected, rtol=1e-14, atol=1e-45)


@pytest.mark.parametrize("name", [n for n in NUMERICAL if n != "swish"])
def test_quadrature_against_mpmath(name):
    """A sum over the plane; where it is slow, the Hermite sum in 30 digits, which the former confirms."""
    points = [(1.3, 0.4, 0.65), (1.0, 1.0, 1e-8), (0.7, 0.7, 1.9), (1e-6, 1.5, 0.2)]
    pair, derivative = dual_of(named(name), *np.transpose(points))
    with mp.workdps(oracle_network.DIGITS):
        expected = [oracle_network.expectations(name, *map(oracle_dual.exact, point)) for point in points]
        plane = oracle_dual.summed(name, *points[0])
        # The sum over the plane leaves out some thousand weights below 1e-19.
        assert all(abs(a / b - 1) < 3e-15 for a, b in zip(plane, expected[0], strict=True))
    for i, (value, gradient) in enumerate(expected):
        norm = np.sqrt(pair.second_x[i] * pair.second_z[i])
        assert abs(pair.covariance[i] - float(value)) < 1e-13 * norm
        assert abs(derivative[i] - float(gradient)) < 1e-12 * float(gradient)


@pytest.mark.parametrize("q", [6.0, 40.0, 100.0])
def test_quadrature_of_a_large_second_moment_against_erf(q):
    """`Erf` as a user function: the long series against the closed form, coincident and opposite pairs included."""
    versines = [0.0, 1e-8, 1e-3, 0.3, 1.0, 1.7, 2.0]
    q = q / 4  # erf is narrower than tanh
    pair, derivative = dual_of(Numerical(jax.scipy.special.erf), q, q, versines)
    expected, slope = dual_of(Erf(), q, q, versines)
    np.testing.assert_allclose(pair.covariance, expected.covariance, atol=1e-12 * expected.second_x[0])
    np.testing.assert_allclose(derivative, slope, atol=1e-12 * float(slope.max()))


def _relu(u):
    return jnp.maximum(u, 0)


# A relu is the same cells with a slope of 0.
def _leaky(u):
    return jnp.where(u > 0, u, 0.2 * u)


KINKED = {"abs": (jnp.abs, named("abs")), "leaky": (_leaky, LeakyRelu(0.2))}


@pytest.mark.parametrize("kind", sorted(KINKED))
@pytest.mark.parametrize("shape", ["one second moment", "one each"])
def test_kinks_are_split_not_smeared(kind, shape):
    function, closed = KINKED[kind]
    versines = jnp.asarray([1e-16, 1e-12, 1e-8, 1e-4, 0.1, 0.7, 1.0, 1.6, 1.99, 2.0])
    q_x, q_z = 1.3, 1.3
    if shape == "one second moment":  # many pairs: the interpolant in the angle
        versines = jnp.tile(versines, 10)
    else:
        q_x, q_z = jnp.full(10, 1.3), jnp.geomspace(1e-6, 100, 10)
    numerical = Numerical(function, kinks=(0.0,))
    pair, derivative = oracle_accuracy.dual(numerical, q_x, q_z, versines)
    expected, slope = oracle_accuracy.dual(closed, q_x, q_z, versines)
    norm = np.sqrt(expected.second_x * expected.second_z)
    assert np.abs((pair.covariance - expected.covariance) / norm).max() < 1e-13
    assert np.abs(derivative - slope).max() < 1e-12
    np.testing.assert_allclose(pair.versine, expected.versine, rtol=1e-11, atol=1e-14)


def test_gradients_of_a_split_rule_see_the_jump_of_the_slope():
    """E[φ'φ'] changes only by where the kinks are."""

    def values(activation, point):
        pair, derivative = activation.dual(Pair.of_versine(*point))
        return jnp.stack([*pair, derivative])

    point = jnp.asarray([0.9, 1.4, 0.3])
    found = jax.jit(jax.jacfwd(lambda p: values(Numerical(_leaky, kinks=(0.0,)), p)))(point)
    expected = jax.jacfwd(lambda p: values(LeakyRelu(0.2), p))(point)
    np.testing.assert_allclose(found, expected, atol=1e-11)


def test_kinks_away_from_zero():
    """hard_tanh = (|u + 1| − |u − 1|)/2 against a sum over cells of the plane, by mpmath."""
    q, v = 1.5, 0.3
    pair, derivative = Numerical(jax.nn.hard_tanh, kinks=(-1.0, 1.0)).dual(Pair.of_versine(q, q, jnp.asarray(v)))
    with mp.workdps(20):
        s, rho = mp.sqrt(mpf(q)), 1 - mpf(v)
        tau = mp.sqrt(1 - rho**2)

        def inner(x):  # E[clip(N(m, w²), −1, 1)] in closed form
            m, w = s * rho * x, s * tau
            a, b = (-1 - m) / w, (1 - m) / w
            middle = m * (mp.ncdf(b) - mp.ncdf(a)) + w * (mp.npdf(a) - mp.npdf(b))
            return middle - mp.ncdf(a) + mp.ncdf(-b)

        def inside(x):
            m, w = s * rho * x, s * tau
            return mp.ncdf((1 - m) / w) - mp.ncdf((-1 - m) / w)

        value = mp.quad(lambda x: max(min(s * x, 1), -1) * inner(x) * mp.npdf(x), [-9, -1 / s, 0, 1 / s, 9])
        slope = mp.quad(lambda x: inside(x) * mp.npdf(x), [-1 / s, 0, 1 / s])
    assert float(pair.covariance) == pytest.approx(float(value), rel=1e-13)
    assert float(derivative) == pytest.approx(float(slope), rel=1e-13)


def test_an_unsplit_kink_and_too_small_a_tolerance_are_refused():
    with pytest.raises(ValueError, match=r"does not meet its tolerance .* kinks=\(\.\.\.\)"):
        Numerical(_relu).dual(Pair.of_versine(1.0, 1.0, 0.5))
    with pytest.raises(ValueError, match="tolerance=1e-16; expected a number of from 1e-13"):
        Numerical(jnp.tanh, tolerance=1e-16)
    with pytest.raises(ValueError, match="function='tanh'; expected an elementwise function"):
        Numerical("tanh")
    with pytest.raises(ValueError, match=r"kinks=\(inf,\); expected finite"):
        Numerical(_relu, kinks=(float("inf"),))


def test_beyond_its_reach_a_quadrature_is_nan_not_wrong():
    activation = Numerical(jnp.tanh)
    assert activation.reach == pytest.approx(100)
    pair, derivative = dual_of(activation, 1000.0, 1.0, 0.5)
    assert np.isnan([*map(float, pair), float(derivative)]).all()


def test_the_tolerance_changes_the_rule():
    from ntkspec.kernel.activation import _hermite as hermite

    loose, tight = hermite.reaches(jnp.tanh, 1e-4), hermite.reaches(jnp.tanh, 1e-12)
    assert loose[0] > 4 * tight[0]


def test_dual_is_the_gaussian_expectation_of_the_callable(name):
    """Plain Monte Carlo of the very function that the finite network calls."""
    activation, rng = named(name), np.random.default_rng(0)
    scale = 1e-3 if name == "siren" else 1.0
    q_x, q_z, correlation = 1.3 * scale, 0.4 * scale, 0.35
    u, v = rng.standard_normal((2, 400_000))
    u, v = np.sqrt(q_x) * u, np.sqrt(q_z) * (correlation * u + np.sqrt(1 - correlation**2) * v)
    pair, derivative = dual_of(activation, q_x, q_z, 1 - correlation)
    (phi_u, slope_u), (phi_v, slope_v) = (
        tuple(map(np.asarray, jax.jvp(activation, (jnp.asarray(a),), (jnp.ones(len(a)),)))) for a in (u, v)
    )
    cases = [(phi_u**2, pair.second_x), (phi_v**2, pair.second_z), (phi_u * phi_v, pair.covariance)]
    if activation.differentiable:
        cases.append((slope_u * slope_v, derivative))
    for samples, expected in cases:
        error = samples.std() / np.sqrt(len(samples))
        assert abs(samples.mean() - float(expected)) <= 5 * error + 1e-12


def test_limits_at_plus_and_minus_one(name):
    activation = named(name)
    q = 0.01 if name == "siren" else 1.3
    pair, _ = dual_of(activation, q, q, [0.0, 2.0])
    assert float(pair.covariance[0]) == pytest.approx(float(np.ravel(pair.second_x)[0]), rel=1e-12)
    assert abs(float(pair.versine[0])) < 2e-12
    z, weights = np.polynomial.hermite_e.hermegauss(180)
    if name not in ("relu", "leaky_relu", "abs", "sign"):  # those have a kink, and a closed form above
        u = jnp.asarray(np.sqrt(q) * z)
        opposite = weights @ np.asarray(activation(u) * activation(-u)) / weights.sum()
        assert float(pair.covariance[1]) == pytest.approx(opposite, abs=1e-9)


def test_gram_is_symmetric_and_positive_semidefinite(name, rng):
    x = rng.standard_normal((12, 3)) * np.geomspace(0.1, 3, 12)[:, None]
    x = np.concatenate([x, x[:3], -x[:2], x[:2] + 1e-8])
    scale = 0.05 if name == "siren" else 1.0
    network = MLP(depth=2, activation=named(name), W_std=scale, b_std=0.3 * scale)
    grams = [network.nngp(x)] + ([network.ntk(x)] if named(name).differentiable else [])
    for gram in grams:
        assert np.array_equal(gram, gram.T)
        assert np.linalg.eigvalsh(gram).min() > -1e-12 * np.trace(gram)


@jax.jit
def values_and_slopes(activation, point):
    """All that `dual` returns, and its derivatives by both second moments and the versine."""

    def values(point):
        pair, derivative = activation.dual(Pair.of_versine(*point))
        parts = [*pair, derivative] if activation.differentiable else [*pair]
        return jnp.stack([jnp.asarray(part, dtype=float) for part in parts])

    return values(point), jax.jacrev(values)(point)


def test_gradients_are_right_and_finite_everywhere(name):
    activation = named(name)
    scale = 1e-3 if name == "siren" else 1.0
    at = np.array([0.9 * scale, 1.4 * scale, 0.3])
    exact = values_and_slopes(activation, at)[1]
    finite = np.stack(
        [
            (values_and_slopes(activation, at + e)[0] - values_and_slopes(activation, at - e)[0]) / (2 * e.sum())
            for e in np.diag(1e-5 * at)
        ],
        axis=1,
    )
    np.testing.assert_allclose(exact, finite, rtol=2e-7, atol=2e-7 * np.abs(finite).max())
    for q, v in [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (1.0, 2.0)]:
        assert np.isfinite(values_and_slopes(activation, np.array([q, 1.0, v]))[1]).all(), (q, v)


@pytest.mark.parametrize("name", [name for name in oracle_accuracy.names() if oracle_network.stax_layer(name)])
def test_networks_in_the_standard_parametrization_are_those_of_neural_tangents(name):
    """The other parametrization is in test_activation_page."""
    x, scale = oracle_accuracy.POINTS, oracle_accuracy.SCALES.get(name, 1.0)
    options = {"W_std": 1.2 * scale, "b_std": 0.3 * scale, "parametrization": "standard", "width": 8}
    norm = np.sqrt(np.sum(x**2, axis=1))
    versine = 1 - (x / norm[:, None]) @ (x / norm[:, None]).T
    network = MLP(depth=2, activation=named(name), **options)
    q, away = norm**2 / x.shape[1], ~np.eye(len(x), dtype=bool)
    ours = jax.jit(lambda net: net.kernels(q[:, None], q[None], versine, x.shape[1]))(network)
    for own, other in zip(ours, oracle_network.tangents(name, x, x, depth=2, **options), strict=True):
        if other is not None:
            size = np.sqrt(np.outer(np.diag(other), np.diag(other)))
            assert (abs(own - other) / size)[away].max() < 1e-12


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_lag_function_and_gram_agree_behind_a_mapping(name):
    scale = 0.05 if name == "siren" else 1.0
    kernel = compose(ns.mapping.basic(dim=2), MLP(depth=1, activation=named(name), W_std=scale, b_std=0.1 * scale))
    x = np.random.default_rng(1).random((4, 2))
    lag = kernel.ntk_lag(x[:, None] - x[None])
    np.testing.assert_allclose(kernel.ntk(x), lag, rtol=1e-11, atol=1e-13 * float(lag.max()))


def test_activations_of_equal_fields_are_different_structures():
    """One jitted function given them in turn must not answer for one with the program of another."""
    structures = [jax.tree.structure(named(name)) for name in ACTIVATIONS if name not in ("swish", "silu")]
    kinds = [type(named(name)).__name__ for name in ACTIVATIONS if name not in ("swish", "silu")]
    for i, a in enumerate(structures):
        for j, b in enumerate(structures):
            if kinds[i] != kinds[j]:
                assert a != b
    activation = LeakyRelu(0.3)
    assert jax.tree.unflatten(jax.tree.structure(activation), jax.tree.leaves(activation)) == activation


def test_sign_has_an_nngp_kernel_and_refuses_its_ntk():
    network = MLP(depth=1, activation="sign", b_std=0.1)
    x = np.eye(2)
    assert np.isfinite(network.nngp(x)).all()
    grad = jax.grad(lambda b: MLP(depth=2, activation=Sign(), b_std=b).nngp(x).sum())(0.1)
    assert np.isfinite(grad)
    kernel = compose(ns.mapping.basic(dim=2), network)
    assert np.isfinite(kernel.nngp(x)).all()
    assert np.isfinite(kernel.nngp_lag(x)).all()
    lags = (np.arange(2) / 2, np.arange(2) / 2)
    for ask in (
        lambda: network.ntk(x),
        lambda: kernel.ntk(x),
        lambda: kernel.ntk_lag(x),
        lambda: kernel.lag_grid(lags),
    ):
        with pytest.raises(ValueError, match=r"activation Sign has no derivative.*nngp"):
            ask()


def test_a_user_function_with_a_jump_has_no_ntk():
    step = Numerical(jnp.sign, kinks=(0.0,))
    assert not step.differentiable
    pair, _ = oracle_accuracy.dual(step, 1.0, 1.0, np.array([1e-8, 0.3]))
    expected, _ = dual_of(Sign(), 1.0, 1.0, [1e-8, 0.3])
    np.testing.assert_allclose(pair.covariance, expected.covariance, rtol=1e-12)


def test_relu_dual_against_mpmath_to_relative_precision():
    dual, derivative = named("relu").dual(Pair.of_versine(3.0, 0.5, jnp.asarray(VERSINES[1:])))
    expected = [oracle_mpmath.relu_dual(3, 0.5, mpf(v)) for v in VERSINES[1:]]
    np.testing.assert_allclose(dual.versine, [float(v) for v, _ in expected], rtol=8 * EPS)
    np.testing.assert_allclose(derivative, [float(d) for _, d in expected], rtol=8 * EPS, atol=1e-60)
    assert (float(dual.second_x), float(dual.second_z)) == (1.5, 0.25)


@pytest.mark.parametrize(("versine", "theta"), [(0, 0), (1, np.pi / 2), (2, np.pi), (0.5, np.pi / 3)])
def test_angles(versine, theta):
    near, far = angles(ns.mapping.Versines.of(versine))
    assert float(near) == pytest.approx(theta, rel=2 * EPS)
    assert float(far) == pytest.approx(np.pi - theta, rel=3 * EPS)


def test_safe_sqrt_is_zero_with_zero_slope_below_zero():
    x = jnp.array([-1.0, 0.0, 4.0])
    assert safe_sqrt(x).tolist() == [0, 0, 2]
    assert jax.vmap(jax.grad(safe_sqrt))(x).tolist() == [0, 0, 0.25]


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"activation='mish' is not known; expected one of .*relu.*tanh"):
        named("mish")
