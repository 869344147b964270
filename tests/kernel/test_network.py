import jax
import jax.numpy as jnp
import numpy as np
import oracle_mpmath
import oracle_tangents
import pytest
from mpmath import mpf

import ntkspec as ns
from ntkspec.kernel import MLP, Polynomial, Relu
from ntkspec.kernel._gram import resolve_coincident

EPS = np.finfo(np.float64).eps
PARAMETRIZATIONS = ["ntk", "standard"]
#: W_std and b_std are traced, so all three share one compiled program a depth.
STDS = [(1.0, 0.0), (2**0.5, 0.3), (0.7, 1.2)]


def network(depth=3, parametrization="ntk", W_std=2**0.5, b_std=0.3, width=64):
    return MLP(depth=depth, W_std=W_std, b_std=b_std, parametrization=parametrization, width=width)


def options(net):
    return {name: getattr(net, name) for name in ("depth", "W_std", "b_std", "parametrization", "width")}


@pytest.fixture(scope="module")
def inputs():
    """Two sets of inputs in general position, of norms between 0.05 and 20."""
    rng = np.random.default_rng(5)
    x, z = rng.standard_normal((2, 7, 5))
    norms = np.geomspace(0.05, 20, 7)[:, None]
    return x * norms, z * norms[::-1]


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_kernels_are_those_of_neural_tangents(depth, parametrization, inputs):
    for W_std, b_std in STDS:
        net = network(depth, parametrization, W_std, b_std)
        nngp, ntk = oracle_tangents.kernels(*inputs, **options(net))
        # The bound; it holds away from coincidence, where the oracle itself loses digits.
        np.testing.assert_allclose(net.nngp(*inputs), nngp, rtol=1e-12)
        np.testing.assert_allclose(net.ntk(*inputs), ntk, rtol=1e-12)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
@pytest.mark.parametrize("depth", [1, 3])
def test_kernels_are_those_of_mpmath_where_points_nearly_coincide(depth, parametrization):
    versines = np.array([1e-4, 1e-8, 1e-12, 1e-16, 0.0, 0.7, 2 - 1e-4, 2 - 1e-8, 2 - 1e-12, 2.0])
    net = network(depth, parametrization, 1.1, 0.2)
    for q_x, q_z in [(1.0, 1.0), (0.3, 2.0)]:
        nngp, ntk = net.kernels(jnp.asarray(q_x), jnp.asarray(q_z), jnp.asarray(versines), 6)
        expected = [oracle_mpmath.mlp(q_x, q_z, mpf(v), fan_in=6, **options(net)) for v in versines]
        np.testing.assert_allclose(nngp, [float(k) for k, _ in expected], rtol=60 * EPS)
        np.testing.assert_allclose(ntk, [float(t) for _, t in expected], rtol=60 * EPS)


def test_kernels_without_bias_vanish_smoothly_at_opposite_inputs():
    versines = np.array([2 - 1e-4, 2 - 1e-8, 2 - 1e-12, 2.0])
    net = network(1, "ntk", 1.0, 0.0)
    nngp, ntk = net.kernels(jnp.ones(()), jnp.ones(()), jnp.asarray(versines), 6)
    expected = [oracle_mpmath.mlp(1, 1, mpf(v), fan_in=6, **options(net)) for v in versines]
    # Absolute, in units of the kernel at coincidence: the entries themselves go to zero.
    np.testing.assert_allclose(nngp, [float(k) for k, _ in expected], rtol=0, atol=8 * EPS)
    np.testing.assert_allclose(ntk, [float(t) for _, t in expected], rtol=0, atol=8 * EPS)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_gram_of_nearly_coincident_inputs_is_that_of_mpmath(parametrization, rng):
    base = rng.standard_normal(5)
    x = np.stack(
        [base, base + 1e-3, base + 1e-6 * rng.standard_normal(5), base * (1 + 1e-9), base + 1e-12, -base, 2 * base]
    )
    net = network(2, parametrization, 1.3, 0.4)
    nngp, ntk = net.nngp(x), net.ntk(x)
    expected = [[oracle_mpmath.mlp_of_inputs(a, b, **options(net)) for b in x] for a in x]
    # Normalising the inputs rounds their angle by a unit, and θ = √(2v) enters linearly.
    np.testing.assert_allclose(nngp, [[float(k) for k, _ in row] for row in expected], rtol=1e-14)
    np.testing.assert_allclose(ntk, [[float(t) for _, t in row] for row in expected], rtol=1e-14)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
@pytest.mark.parametrize("name", ["ntk", "nngp"])
def test_gram_is_exactly_symmetric_and_positive(parametrization, name, rng):
    x = rng.standard_normal((40, 5)) * rng.uniform(0.1, 3, (40, 1))
    x[7], x[8], x[9] = x[6], 0.0, x[5] + 1e-9
    K = np.asarray(getattr(network(2, parametrization, b_std=0.0), name)(x))
    np.testing.assert_array_equal(K, K.T)
    value = np.linalg.eigvalsh(K)
    assert value[0] > -40 * EPS * value[-1]
    np.testing.assert_allclose(
        getattr(network(2, parametrization, b_std=0.0), name)(x, x), K, rtol=0, atol=1e-13 * K.max()
    )


def test_all_inputs_alike_take_the_crowd_branch():
    rng = np.random.default_rng(1)
    one = rng.standard_normal((1, 5))
    crowd = one + 1e-9 * rng.standard_normal((70, 5))  # more pairs than are computed both ways
    net = network(1)
    scattered = np.stack([np.asarray(net.ntk(crowd[[i]], crowd))[0] for i in range(70)])  # one row: few pairs
    np.testing.assert_allclose(net.ntk(crowd), scattered, rtol=4 * EPS)
    same = np.repeat(one, 70, axis=0)
    np.testing.assert_allclose(net.ntk(same), float(net.ntk(one)[0, 0]), rtol=4 * EPS)


#: No pair is one point twice.
NEVER = jnp.zeros((30, 30), dtype=bool)


@pytest.mark.parametrize("small", [0, 4096])
@pytest.mark.parametrize("alike", [0, 3, 12, 30], ids=["none", "few", "some", "crowd"])
def test_resolve_coincident_replaces_exactly_the_small_versines(alike, small):
    rng = np.random.default_rng(2)
    versine = rng.uniform(0.1, 2.0, (30, 30))
    versine[:alike, :alike] = rng.uniform(-1e-15, 1e-15, (alike, alike))
    exact = rng.uniform(0, 1e-15, (30, 30))
    resolved = resolve_coincident(
        jnp.asarray(versine),
        lambda i, j: ns.mapping.Versines.of(jnp.asarray(exact)[i, j]),
        NEVER,
        without_branches=small,
    )
    expected = versine.copy()
    expected[:alike, :alike] = exact[:alike, :alike]
    np.testing.assert_array_equal(resolved.near, expected)


def test_resolve_coincident_of_a_wide_matrix_drops_the_padding():
    versine = jnp.full((2, 9), 1.0).at[1, 3].set(1e-9)
    resolved = resolve_coincident(
        versine, lambda i, j: ns.mapping.Versines.of(1e-7 * (10 * i + j)), NEVER[:2, :9], without_branches=0
    )
    np.testing.assert_array_equal(resolved.near, versine.at[1, 3].set(1e-7 * jnp.asarray(13)))


def test_exactly_opposite_inputs_have_an_angle_of_pi(rng):
    # Without a bias the kernel of depth 1 is zero there; 1 − ρ from a product would leave 1e-9 of it.
    x = rng.standard_normal((6, 3)) * rng.uniform(0.1, 3, (6, 1))
    K = np.asarray(network(1, W_std=1.0, b_std=0.0).ntk(x, -2 * x))
    np.testing.assert_array_equal(np.diag(K), 0)
    k = ns.kernel.compose(ns.mapping.basic(2), network(1, W_std=1.0, b_std=0.0))
    # Points whose difference is exactly ½ in binary, as that of 0.7 and 0.2 is not.
    assert float(k.ntk([[0.125, 0.25]], [[0.625, 0.75]])[0, 0]) == 0


def test_resolve_coincident_takes_one_point_twice_for_a_versine_of_zero():
    versine = jnp.asarray([[3e-16, 0.5], [0.5, 1.0]])
    resolved = resolve_coincident(
        versine, lambda i, j: ns.mapping.Versines.of(jnp.full(i.shape, jnp.nan)), jnp.eye(2, dtype=bool)
    ).near
    # The second point has no direction (a zero-norm input), and keeps the versine that says so.
    np.testing.assert_array_equal(resolved, [[0, 0.5], [0.5, 1.0]])


@pytest.fixture(scope="module")
def value_and_slopes():
    """Σ weights · Θ with its gradient in (W_std, b_std, x), compiled once for six inputs of three coordinates."""

    @jax.jit
    def value(W_std, b_std, x, weights):
        # The standard parametrization sums both kernels: Θ = f·K + 1 + W²Θ, so one program covers both.
        net = MLP(depth=2, W_std=W_std, b_std=b_std, parametrization="standard", width=16)
        return jnp.sum(weights * net.ntk(x))

    return value, jax.jit(jax.grad(value, argnums=(0, 1, 2)))


def test_gradients_are_finite_at_coincident_zero_and_opposite_inputs(value_and_slopes, rng):
    x = rng.standard_normal((6, 3))
    x[1], x[2], x[3], x[4] = x[0], 0.0, -x[0], 2 * x[0]
    for b_std in (0.0, 0.5):
        W_slope, b_slope, x_slope = value_and_slopes[1](2**0.5, b_std, x, np.ones((6, 6)))
        assert np.isfinite([W_slope, b_slope]).all()
        assert np.isfinite(x_slope).all()
        assert float(W_slope) > 0


def test_gradients_are_finite_where_all_inputs_are_alike(value_and_slopes):
    for x in (np.zeros((6, 3)), np.ones((6, 3))):
        slopes = value_and_slopes[1](2**0.5, 0.0, x, np.ones((6, 6)))
        assert all(np.isfinite(slope).all() for slope in slopes)


def test_gradients_are_finite_differences_away_from_coincidence(value_and_slopes, rng):
    x, weights = rng.standard_normal((6, 3)), rng.standard_normal((6, 6))

    def value(W_std, b_std, x):
        return value_and_slopes[0](W_std, b_std, x, weights)

    at = (jnp.asarray(1.2), jnp.asarray(0.4), jnp.asarray(x))
    slopes = value_and_slopes[1](*at, weights)
    h = 1e-5
    for i in (0, 1):
        moved = [[a + s * h * (j == i) for j, a in enumerate(at[:2])] for s in (1, -1)]
        difference = (value(*moved[0], x) - value(*moved[1], x)) / (2 * h)
        # h² truncation and ε/h rounding meet at 1e-10; the third derivative may be large.
        assert float(slopes[i]) == pytest.approx(float(difference), rel=1e-7)
    direction = rng.standard_normal(x.shape)
    difference = (value(*at[:2], x + h * direction) - value(*at[:2], x - h * direction)) / (2 * h)
    assert float(jnp.sum(slopes[2] * direction)) == pytest.approx(float(difference), rel=1e-7)


def test_standard_kernel_grows_with_width_and_ntk_kernel_does_not(inputs):
    narrow, wide = (network(2, "standard", width=w).ntk(*inputs) for w in (64, 128))
    assert (np.asarray(wide) > np.asarray(narrow)).all()
    narrow, wide = (network(2, "ntk", width=w).ntk(*inputs) for w in (64, 128))
    np.testing.assert_array_equal(narrow, wide)


def test_every_option_changes_the_kernel(inputs):
    plain = network(2).ntk(*inputs)
    for other in (network(3), network(2, "standard"), network(2, W_std=1.0), network(2, b_std=0.0)):
        assert not np.allclose(other.ntk(*inputs), plain)


def test_pytree_roundtrip_keeps_everything():
    net = network(2, "standard")
    again = jax.tree.unflatten(jax.tree.structure(net), jax.tree.leaves(net))
    assert again == net
    assert [float(leaf) for leaf in jax.tree.leaves(net)] == [2**0.5, 0.3]
    assert MLP(depth=1, activation=Relu()) == MLP(depth=1, activation="relu")


def test_vmap_over_stds(inputs):
    stds = jnp.array([0.5, 1.0, 2.0])
    stacked = jax.vmap(lambda W: MLP(depth=1, W_std=W, b_std=0.1).ntk(*inputs))(stds)
    for W, kernel in zip(stds, stacked, strict=True):
        np.testing.assert_allclose(kernel, network(1, W_std=float(W), b_std=0.1).ntk(*inputs), rtol=1e-14)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MLP(depth=0), "depth=0; expected a positive integer"),
        (lambda: MLP(depth=1.5), r"depth=1\.5; expected a positive integer"),
        (lambda: MLP(depth=1, activation="mish"), "activation='mish' is not known"),
        (lambda: MLP(depth=1, W_std=0.0), r"W_std=0\.0; expected a positive number"),
        (lambda: MLP(depth=1, W_std=float("nan")), "W_std=nan; expected a positive number"),
        (lambda: MLP(depth=1, b_std=-0.1), r"b_std=-0\.1; expected a number of at least 0"),
        (lambda: MLP(depth=1, width=0), "width=0; expected a positive integer"),
        (lambda: MLP(depth=1, parametrization="mup"), "parametrization='mup'; expected 'ntk' or 'standard'"),
        (lambda: MLP(depth=1, parametrization="standard"), "parametrization='standard' needs a width"),
        (lambda: MLP(depth=1).init(jax.random.key(0), 2), r"no width; build it with MLP\(\.\.\., width=512\)"),
        (lambda: MLP(depth=1).ntk([1.0, 2.0]), r"inputs have shape \(2,\); expected \(n, p\)"),
        (lambda: MLP(depth=1).ntk([[np.nan, 1.0]]), "inputs hold NaN or infinity"),
        (lambda: MLP(depth=1).ntk([[1.0]], [[np.inf]]), "points hold NaN or infinity"),
        (lambda: MLP(depth=1).nngp([[1.0]], [[1.0, 2.0]]), r"points have shape \(1, 2\); expected \(n, 1\)"),
    ],
)
def test_bad_input_is_refused_in_words(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_variance_that_overflows_names_the_layer_and_what_to_change():
    net = MLP(depth=5, W_std=1e40)
    # Each layer multiplies the variance by W_std²/2 = 5e79, from 1e80 behind the first: 5e79³ · 1e80 is past 1e308.
    for kernel in (net.ntk, net.nngp):
        with pytest.raises(ValueError, match=r"overflows in Dense layer 3 .*growing 5e\+79 times a layer") as caught:
            kernel([[1.0], [0.5]])
        assert "divide W_std=1e+40 by about 7.07e+39" in str(caught.value)
    np.testing.assert_array_equal(np.isfinite(MLP(depth=5, W_std=1e40 / 7.07e39).ntk([[1.0], [0.5]])), True)


def test_an_ntk_that_overflows_before_the_variance_says_so():
    net = MLP(depth=2, W_std=(1e150, 1.0, 1.0), parametrization="standard", width=10**15)
    with pytest.raises(ValueError, match=r"the NTK overflows in Dense layer 1 .* width"):
        net.ntk([[1.0]])
    assert np.isfinite(net.nngp([[1.0]])).all()


def test_a_quadrature_out_of_its_reach_says_so():
    with pytest.raises(ValueError, match=r"hidden layer 1 have a second moment of .* up to 1\d\d only; take smaller"):
        MLP(depth=1, activation="tanh").nngp([[250.0, 100.0]])


def test_advice_on_deviations_is_given_only_where_growth_is_steady():
    with pytest.raises(ValueError, match="overflows in Dense layer") as caught:
        MLP(depth=12, activation=Polynomial((0.0, 0.0, 1.0))).nngp([[3.0, 1.0]])
    assert "divide" not in str(caught.value)


def test_a_wrong_number_of_deviations_is_refused_also_in_jax_arrays():
    for wrong in (jnp.ones(2), jnp.ones((4, 1)), None):
        with pytest.raises(ValueError, match=r"b_std is .*expected one number, or one for each of 4 Dense layers"):
            MLP(depth=3, b_std=wrong).ntk([[1.0]])
    stacked = jax.vmap(lambda b: MLP(depth=3, b_std=b))(jnp.array([0.1, 0.2]))
    assert stacked.b_std.shape == (2,)


def test_the_finite_network_refuses_other_inputs(key):
    net = MLP(depth=1, width=4)
    for x in (np.ones((5, 2)), np.ones(3)):
        with pytest.raises(ValueError, match=r"expected \(n, 3\), the coordinates that the parameters were made for"):
            net.apply(net.init(key, 3), x)


def test_a_plain_function_is_no_activation():
    for function in (jnp.tanh, jax.nn.relu):
        with pytest.raises(TypeError, match=r"wrap it as ns\.kernel\.Numerical"):
            MLP(depth=1, activation=function)


def test_complex_inputs_are_refused():
    """A cast would drop the imaginary part."""
    network, x = ns.kernel.MLP(depth=1), np.ones((2, 2))
    k = ns.kernel.compose(ns.mapping.identity(2), network)
    for of, points in ((network, "inputs"), (k, "points")):
        with pytest.raises(TypeError, match=f"{points} are complex"):
            of.ntk(x + 1j)
        with pytest.raises(TypeError, match="points are complex"):
            of.ntk(x, x + 1j)
    K = ns.operator.dense(k, x * [[0.1], [0.2]])
    with pytest.raises(TypeError, match=r"labels are complex; .* two channels"):
        ns.predict(K, [1.0, 1j], steps=[1], learning_rate=0.01)
    with pytest.raises(TypeError, match="`initial` values are complex"):
        ns.predict(K, [1.0, 0.0], initial=[1j, 0.0], steps=[1], learning_rate=0.01)
