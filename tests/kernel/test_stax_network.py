import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkspec as ns
from ntkspec import limits
from ntkspec.kernel import _stax_network as stax_network

EPS = np.finfo(np.float64).eps
nt = ns.kernel.stax.load()
stax = nt.stax


def fully_connected(activation, depth=2, width=32, outputs=1, **dense):
    hidden = [layer for _ in range(depth) for layer in (stax.Dense(width, **dense), activation)]
    return stax.serial(*hidden, stax.Dense(outputs, **dense))


def convolutional(outputs=1):
    conv = {"W_std": 1.3, "b_std": 0.1, "padding": "SAME"}
    hidden = (stax.Conv(4, (3, 3), **conv), stax.Relu(), stax.AvgPool((2, 2), (2, 2)), stax.Conv(6, (3, 3), **conv))
    return stax.serial(*hidden, stax.Relu(), stax.GlobalAvgPool(), stax.Dense(outputs))


RELU = fully_connected(stax.Relu(), W_std=1.3, b_std=0.2)
CONV = convolutional()
MLP = ns.kernel.MLP(depth=2, W_std=1.3, b_std=0.2, width=32)


@pytest.fixture(scope="module")
def network():
    return ns.kernel.from_stax(*RELU)


@pytest.fixture(scope="module")
def composed(network):
    return ns.kernel.compose(ns.mapping.gaussian(2, 8, scale=1.5), network)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).standard_normal((5, 6, 6, 2))


def wrapped(kernel_fn):
    """What nt.batch and the like make of a kernel_fn: the same kernels, of inputs only."""

    def of_inputs(x, z, get):
        return kernel_fn(jnp.asarray(x), z, get)

    return of_inputs


LAYERS = {
    "relu": stax.Relu(),
    "erf": stax.Erf(),
    "gelu": stax.Gelu(),
    "sin": stax.Sin(),
    "abs": stax.Abs(),
}


@pytest.mark.parametrize(
    ("name", "parametrization"),
    [("relu", "ntk"), ("erf", "ntk"), ("gelu", "ntk"), ("sin", "ntk"), ("abs", "ntk"), ("relu", "standard")],
)
def test_kernels_are_those_of_the_mlp(name, parametrization, rng):
    x, z = rng.standard_normal((2, 6, 5))
    stds = {"W_std": 1.3, "b_std": 0.2}
    net = ns.kernel.from_stax(*fully_connected(LAYERS[name], **stds, parameterization=parametrization))
    ours = ns.kernel.MLP(depth=2, activation=name, **stds, parametrization=parametrization, width=32)

    @jax.jit
    def all_kernels(x, z):
        q_x, q_z = jnp.sum(x**2, 1)[:, None] / 5, jnp.sum(z**2, 1) / 5
        versine = 1 - x @ z.T / 5 / jnp.sqrt(q_x * q_z)
        return net.ntk(x, z), net.nngp(x, z), net.kernels(q_x, q_z, versine, 5), ours.kernels(q_x, q_z, versine, 5)

    ntk, nngp, of_moments, expected = all_kernels(x, z)
    # The bound of the oracle; inputs in general position are far from coincidence.
    for found in (ntk, of_moments.ntk):
        np.testing.assert_allclose(found, expected.ntk, rtol=1e-12)
    for found in (nngp, of_moments.nngp):
        np.testing.assert_allclose(found, expected.nngp, rtol=1e-12)


def test_kernels_behind_a_mapping_are_those_of_the_mlp(composed, rng):
    ours = ns.kernel.compose(composed.mapping, MLP)
    x, z = rng.random((2, 12, 2))
    np.testing.assert_allclose(composed.ntk(x, z), ours.ntk(x, z), rtol=1e-12)
    np.testing.assert_allclose(composed.nngp(x, z), ours.nngp(x, z), rtol=1e-12)
    # neural-tangents goes on with cosines where we have versines: θ = √(2v) is off by √ε at v = 0, else by ε/θ.
    for lag, tolerance in ((0.0, 1e-7), (1e-6, 1e-9), (1e-3, 1e-12)):
        expected = float(ours.ntk_lag([lag, 0.0]))
        assert float(composed.ntk_lag([lag, 0.0])) == pytest.approx(expected, rel=tolerance, abs=0)


def test_lag_functions_are_the_gram_which_is_exactly_symmetric(composed, rng):
    x = rng.random((12, 2))
    x[1] = x[0]
    lags = x[:, None] - x[None]
    for which, function in (("ntk", composed.ntk_lag), ("nngp", composed.nngp_lag)):
        K = np.asarray(composed.gram(x, which=which))
        np.testing.assert_array_equal(K, K.T)
        np.testing.assert_allclose(K, function(lags), rtol=1e-12)
    axes = (np.array([0.0, 0.1, 0.3]), np.array([-0.2, 0.5]))
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    np.testing.assert_allclose(composed.lag_grid(axes), composed.ntk_lag(points), rtol=1e-12)


def test_gram_of_features_is_the_gram_of_lags(composed, rng):
    x = rng.random((12, 2))
    K = np.asarray(composed.network.ntk(composed.mapping(x)))
    np.testing.assert_array_equal(K, K.T)
    # The bound on coincident pairs: neural-tangents takes arccos of a rounded cosine.
    np.testing.assert_allclose(K, composed.ntk(x), rtol=1e-7)
    np.testing.assert_allclose((K - np.diag(np.diag(K)))[:6, 6:], np.asarray(composed.ntk(x))[:6, 6:], rtol=1e-12)


def test_infinitely_many_frequencies_have_a_kernel_and_no_finite_network(network, key):
    mapping = ns.mapping.gaussian_limit(2, scale=1.5, num_features=16)
    k, ours = ns.kernel.compose(mapping, network), ns.kernel.compose(mapping, MLP)
    lags = np.array([[0.1, 0.0], [0.2, 0.4]])
    np.testing.assert_allclose(k.ntk_lag(lags), ours.ntk_lag(lags), rtol=1e-12)
    with pytest.raises(ValueError, match="infinitely many frequencies"):
        k.init(key)


@pytest.fixture(scope="module")
def oracle():
    """The convolution's kernel_fn in one program: operation by operation it takes seconds."""
    return jax.jit(CONV[2], static_argnums=2)


def test_a_convolution_on_raw_images_is_its_kernel_fn(images, oracle):
    net = ns.kernel.from_stax(*CONV)
    other = images[:2] + 0.5
    np.testing.assert_allclose(net.ntk(images, other), oracle(images, other, "ntk"), rtol=1e-12)
    K = np.asarray(net.nngp(images))
    np.testing.assert_array_equal(K, K.T)
    # Coincident pairs stand on the diagonal.
    np.testing.assert_allclose(K, oracle(images, None, "nngp"), rtol=1e-7)
    assert net.input_shape == (32, 32, 3)
    assert net.width == 4
    assert not net.isotropic


def test_large_grams_are_made_of_tiles(images, oracle):
    init_fn, apply_fn, kernel_fn = CONV
    seen = []

    def watched(x, z, get):
        seen.append((x.shape[0], z if z is None else z.shape[0]))
        return kernel_fn(x, z, get)

    net = ns.kernel.from_stax(init_fn, apply_fn, watched)
    seen.clear()
    with limits.limited(covariances=2 * 36**2):  # two pairs of 6 × 6 pixels, all positions against all
        K = net.nngp(images)
    assert set(seen) == {(1, 2)}
    np.testing.assert_allclose(K, oracle(images, None, "nngp"), rtol=1e-7)
    np.testing.assert_array_equal(K, K.T)


def test_a_network_that_keeps_the_diagonal_of_positions_has_larger_tiles():
    flat = stax.serial(stax.Conv(4, (3, 3), padding="SAME"), stax.Relu(), stax.Flatten(), stax.Dense(1))
    count = stax_network._positions_per_pair
    assert count(ns.kernel.from_stax(*flat).triple, (6, 6, 2)) == 36
    assert count(ns.kernel.from_stax(*CONV).triple, (6, 6, 2)) == 36**2
    assert count(ns.kernel.from_stax(*RELU).triple, (7,)) == 1


@pytest.mark.parametrize("kind", ["vectors", "images"])
def test_finite_networks_are_those_of_stax(kind, images, key, rng):
    images_or_vectors = {"vectors": (fully_connected(stax.Relu(), outputs=3), rng.random((4, 5)), 5)}
    triple, x, shape = images_or_vectors.get(kind, (CONV, images, (6, 6, 2)))
    net = ns.kernel.from_stax(*triple)

    @jax.jit
    def of_both(key, x):
        params, expected = net.init(key, shape), triple[0](key, (-1, *x.shape[1:]))[1]
        single = jax.tree.map(lambda leaf: leaf.astype("float32"), params)
        return params, expected, net.apply(params, x), triple[1](expected, x), net.apply(single, x)

    params, expected, outputs, expected_outputs, single = of_both(key, x)
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    np.testing.assert_allclose(outputs, expected_outputs, rtol=1e-13)
    assert single.dtype == np.float32
    # float32 parameters are off by 6e-8 each.
    np.testing.assert_allclose(single, outputs, rtol=0, atol=1e-6 * np.abs(outputs).max())


def test_behind_a_mapping_the_finite_network_sees_features(composed, key, rng):
    x = rng.random((4, 2))
    params = composed.init(key)
    np.testing.assert_array_equal(composed.apply(params, x), RELU[1](params, composed.mapping(x)))
    jax.tree.map(np.testing.assert_array_equal, composed.init(key, outputs=1), params)


def test_kernels_are_means_over_finite_networks(key):
    # With one hidden layer both are unbiased at any width.
    triple = fully_connected(stax.Relu(), depth=1, width=32, W_std=1.2, b_std=0.3)
    net = ns.kernel.from_stax(*triple)
    x = np.array([[0.3, -1.0, 0.4], [1.0, 0.2, -0.3]])

    @jax.jit
    @jax.vmap
    def draw(key):
        params = net.init(key, 3, 1)
        slopes = jax.jacobian(lambda p: net.apply(p, x)[:, 0])(params)
        f = net.apply(params, x)[:, 0]
        return f[:, None] * f, sum(
            jnp.tensordot(s.reshape(2, -1), s.reshape(2, -1), (1, 1)) for s in jax.tree.leaves(slopes)
        )

    num_draws = 4000
    for samples, expected in zip(draw(jax.random.split(key, num_draws)), (net.nngp(x), net.ntk(x)), strict=True):
        error = np.abs(samples.mean(axis=0) - expected) / (samples.std(axis=0) / num_draws**0.5)
        assert (error < 5).all()
        assert float(samples.std()) > 0


def test_every_operator_spectrum_and_prediction_takes_it(composed):
    ours = ns.kernel.compose(composed.mapping, MLP)
    K = ns.operator.lattice(composed, (6, 5))
    D = ns.operator.dense(composed, K.points)
    np.testing.assert_allclose(K.to_dense(), D.matrix, rtol=1e-12)
    value, vector = np.linalg.eigh(np.asarray(ours.ntk(K.points)))
    # Eigenvalues inherit the kernel's 1e-12, and 1e-7 of its diagonal at coincidence.
    np.testing.assert_allclose(ns.eigen.spectrum(D, num_modes=4).eigenvalue, value[:-5:-1], rtol=1e-7)
    y = np.sin(7 * K.points[:, 0]) + K.points[:, 1]
    rate = 1 / value[-1]
    p = ns.predict(K, y, steps=[1, 30], learning_rate=rate, tolerance=1e-9)
    expected = [vector @ ((1 - (1 - rate * value) ** t) * (vector.T @ y)) for t in (1, 30)]
    np.testing.assert_allclose(p.train, expected, rtol=0, atol=1e-7 * np.linalg.norm(y))


def test_training_is_gradient_descent_on_its_apply(network):
    k = ns.kernel.compose(ns.mapping.basic(dim=1), network)
    x = np.arange(6)[:, None] / 6
    y = np.cos(2 * np.pi * x[:, 0])
    options = {"learning_rate": 0.05, "seeds": 2, "dtype": "float64"}
    r = ns.trainer.train(k, x, y, steps=[0, 3], **options)
    assert r.attrs["width"] == 32

    @jax.jit
    def by_hand(key):
        params = k.init(key)
        start = k.apply(params, x)[:, 0]
        for _ in range(3):
            slope = jax.grad(lambda p: jnp.sum((k.apply(p, x)[:, 0] - start - y) ** 2) / 2)(params)
            params = jax.tree.map(lambda p, g: p - 0.05 * g, params, slope)
        return k.apply(params, x)[:, 0] - start

    expected = by_hand(jax.random.fold_in(jax.random.key(0), 1))
    np.testing.assert_allclose(r.train.sel(step=3, seed=1), expected, rtol=0, atol=100 * EPS)


def test_it_is_static_and_each_triple_has_a_program_of_its_own(network):
    assert jax.tree.leaves(network) == []
    assert hash(jax.tree.structure(network)) == hash(jax.tree.structure(ns.kernel.from_stax(*RELU)))
    kernels = jax.jit(lambda net: net.kernels(1.0, 0.5, 0.3, 4).ntk)
    other = ns.kernel.from_stax(*fully_connected(stax.Erf(), W_std=1.3, b_std=0.2))
    for net, activation in ((network, "relu"), (other, "erf")):
        ours = ns.kernel.MLP(depth=2, activation=activation, W_std=1.3, b_std=0.2)
        expected = float(ours.kernels(*(jnp.asarray(v) for v in (1.0, 0.5, 0.3)), 4).ntk)
        assert float(kernels(net)) == pytest.approx(expected, rel=1e-12)


def test_kernels_have_derivatives_in_the_mapping(composed):
    def value(frequencies):
        mapping = ns.mapping.from_frequencies(frequencies, composed.mapping.amplitudes)
        return ns.kernel.compose(mapping, composed.network).ntk_lag([0.1, 0.2])

    at = composed.mapping.frequencies
    slope, h = jax.grad(value)(at), 1e-5
    direction = jnp.ones_like(at)
    difference = (value(at + h * direction) - value(at - h * direction)) / (2 * h)
    # h² truncation and ε/h rounding meet at 1e-10; the third derivative may be large.
    assert float(jnp.sum(slope)) == pytest.approx(float(difference), rel=1e-7)


def test_a_wrapped_kernel_fn_has_grams_and_no_function_of_the_lag(composed, rng):
    net = ns.kernel.from_stax(RELU[0], RELU[1], wrapped(RELU[2]))
    k = ns.kernel.compose(composed.mapping, net)
    assert not net.isotropic
    assert not k.stationary
    x = rng.random((5, 2))
    np.testing.assert_allclose(ns.operator.dense(k, x).matrix, composed.ntk(x), rtol=1e-7)
    with pytest.raises(ValueError, match="not known as a function of norms and angles"):
        k.ntk_lag([0.1, 0.2])
    with pytest.raises(ValueError, match="a network whose kernel_fn is wrapped"):
        ns.operator.lattice(k, (4, 4))
    with pytest.raises(ValueError, match=r"takes inputs and no neural_tangents\.Kernel"):
        net.kernels(1.0, 1.0, 0.5, 3)


@pytest.mark.filterwarnings("ignore:Inputs to this layer are assumed:UserWarning")
def test_a_layer_without_a_finite_network_leaves_the_kernel(key, rng):
    net = ns.kernel.from_stax(*stax.serial(stax.Dense(8), stax.ExpNormalized(), stax.Dense(1)))
    assert net.width is None
    assert net.ntk(rng.random((3, 2))).shape == (3, 3)
    for use in (lambda: net.init(key, 2), lambda: net.apply([], np.ones((1, 2)))):
        with pytest.raises(ValueError, match="a kernel and no finite network"):
            use()


def test_a_network_of_one_input_shape_says_it():
    def of_seven(x, z, get):
        assert x.shape[1:] == (7,), "expected seven"
        return RELU[2](x, z, get)

    with pytest.raises(
        ValueError, match=r"AssertionError: expected seven.*nor did it take .*say input_shape=\(\.\.\.\)"
    ):
        ns.kernel.from_stax(RELU[0], RELU[1], of_seven)
    assert ns.kernel.from_stax(RELU[0], RELU[1], of_seven, input_shape=7).input_shape == (7,)


def test_the_narrowest_hidden_layer_is_its_width():
    triple = stax.serial(stax.Dense(16, b_std=1.0), stax.Relu(), stax.Dense(8), stax.Relu(), stax.Dense(3, b_std=1.0))
    assert ns.kernel.from_stax(*triple).width == 8
    assert ns.kernel.from_stax(*stax.Dense(3, b_std=1.0)).width == 0


def test_importing_the_kernels_does_not_import_neural_tangents():
    code = "import sys, ntkspec; ntkspec.kernel.from_stax; assert 'neural_tangents' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def only_nngp(x, z, get):
    if "ntk" in get:
        raise KeyError("ntk")
    return RELU[2](x, z, get)


ORDER = r"from_stax\(\*stax\.serial\(\.\.\.\)\) is init_fn, apply_fn, kernel_fn"


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (
            lambda: ns.kernel.from_stax(RELU[0], RELU[1], 3),
            TypeError,
            "`kernel_fn` is a int; expected a function.*" + ORDER,
        ),
        (
            lambda: ns.kernel.from_stax(*RELU[::-1]),
            TypeError,
            r"`kernel_fn` takes \(rng, input_shape\).*\(x, z, get\).*" + ORDER,
        ),
        (
            lambda: ns.kernel.from_stax(RELU[0], RELU[2], RELU[1]),
            TypeError,
            r"`kernel_fn` takes \(params, inputs, kwargs\)",
        ),
        (
            lambda: ns.kernel.from_stax(RELU[1], RELU[0], RELU[2]),
            ValueError,
            r"init_fn\(key, input_shape\) raised.*" + ORDER,
        ),
        (
            lambda: ns.kernel.from_stax(RELU[0], RELU[1], lambda x, z: x @ x.T),
            TypeError,
            r"takes \(x, z\); expected \(x, z, get\)",
        ),
        (
            lambda: ns.kernel.from_stax(RELU[0], RELU[1], lambda x, z, get: x @ x.T),
            TypeError,
            r"returned an array of shape \(2, 2\); expected an object with the field `nngp`",
        ),
        (
            lambda: ns.kernel.from_stax(RELU[0], RELU[1], lambda x, z, get: 3),
            TypeError,
            r"returned an array of shape \(\); expected an object",
        ),
        (
            lambda: ns.kernel.from_stax(RELU[0], RELU[1], lambda x, z, get: x.nngp),
            ValueError,
            r"raised for x of shape \(2, 3\)",
        ),
        (lambda: ns.kernel.from_stax(RELU[0], CONV[1], RELU[2]), ValueError, r"apply_fn\(params, x\) raised"),
        (
            lambda: ns.kernel.from_stax(RELU[0], lambda p, x: x, RELU[2]),
            ValueError,
            r"outputs of shape \(2, 3\) where init_fn promised \(-1, 1\)",
        ),
        (
            lambda: ns.kernel.from_stax(*stax.serial(stax.Dense(4), stax.Dropout(0.5), stax.Dense(1))),
            ValueError,
            r"stax\.Dropout\(rate, mode='test'\)",
        ),
        (
            lambda: ns.kernel.from_stax(*stax.serial(stax.Conv(4, (3, 3)), stax.Relu())),
            ValueError,
            r"a kernel of shape \(2, 2, 30, 30, 30, 30\); expected \(2, 2\).*stax\.Flatten\(\)",
        ),
        (
            lambda: ns.kernel.from_stax(RELU[0], RELU[1], only_nngp).ntk(np.ones((2, 3))),
            ValueError,
            r"no NTK: kernel_fn\(x, None, \('ntk',\)\) raised.*its NNGP kernel exists",
        ),
        (lambda: ns.kernel.from_stax(*stax.Identity()).ntk(np.ones((2, 3))), ValueError, "nothing to train"),
        (lambda: ns.kernel.zonal(ns.kernel.from_stax(*stax.Identity()), 3), ValueError, "this network has no NTK"),
        (
            lambda: ns.kernel.from_stax(*RELU).ntk([1.0, 2.0]),
            ValueError,
            r"`x` has shape \(2,\); expected one input a row",
        ),
        (lambda: ns.kernel.from_stax(*RELU).ntk([[1.0]], [[1.0, 2.0]]), ValueError, r"`z` has shape \(1, 2\)"),
        (
            lambda: ns.kernel.from_stax(*RELU).ntk(np.ones((2, 4, 3))),
            ValueError,
            r"gave a kernel of shape \(2, 2, 4, 4\)",
        ),
        (lambda: ns.kernel.from_stax(*CONV).ntk(np.ones((2, 3))), ValueError, r"took no inputs of shape \(2, 3\)"),
        (
            lambda: ns.kernel.from_stax(*RELU).init(jax.random.key(0), 2, 4),
            ValueError,
            r"outputs=4, and this stax network ends in 1; build its last layer as stax\.Dense\(4\)",
        ),
        (
            lambda: ns.kernel.compose(ns.mapping.basic(2), ns.kernel.from_stax(*CONV)),
            ValueError,
            r"takes inputs such as \(n, 32, 32, 3\) and a mapping gives features \(n, p\)",
        ),
        (
            lambda: ns.kernel.compose(
                ns.mapping.basic(2), ns.kernel.from_stax(*stax.serial(stax.Dense(4), stax.Relu()))
            ),
            ValueError,
            "last layer is not linear",
        ),
        (lambda: ns.kernel.compose(ns.mapping.basic(2), RELU), TypeError, r"ns\.kernel\.from_stax\(\*network\)"),
        (lambda: ns.kernel.compose(ns.mapping.basic(2), 3), TypeError, "`network` is a int"),
    ],
)
def test_bad_input_is_refused_in_words(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_a_convolution_that_crashes_the_compiler_whole_runs_in_parts(rng):
    stax = ns.kernel.stax.load().stax
    conv = [stax.Conv(8, (3, 3), padding="SAME"), stax.Relu(), stax.Conv(8, (3, 3)), stax.Relu()]
    network = stax.serial(*conv, stax.AvgPool((2, 2)), stax.Flatten(), stax.Dense(2))
    x = rng.standard_normal((3, 8, 8, 2))
    np.testing.assert_allclose(ns.kernel.from_stax(*network).ntk(x), network[2](x, None, "ntk"), rtol=1e-12)
