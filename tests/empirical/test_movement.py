"""What the observer says of kernels that move, against NumPy on the kernels themselves."""

from dataclasses import FrozenInstanceError, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import ntkspec as ns
from ntkspec.empirical._movement import leading_eigenvalues
from ntkspec.empirical._sample import sample

SHAPE = (6, 5)
K = ns.kernel.compose(ns.mapping.gaussian(2, 6, scale=1.0), ns.kernel.MLP(depth=1, width=24, b_std=0.2))
LATTICE = ns.operator.lattice(K, SHAPE)
X = LATTICE.points
Y = np.stack([np.sin(2 * np.pi * X[:, 0]), X[:, 1]], axis=1)
SEEDS = 3


def drawn(k, seed, count, outputs):
    """Parameters of networks, stacked."""
    return jax.vmap(lambda key: k.init(key, outputs))(jax.random.split(jax.random.key(seed), count))


@pytest.fixture(scope="module")
def params():
    """Of three networks with two outputs, at the start and moved, one more than the other."""
    start = drawn(K, 0, SEEDS, 2)
    noise = drawn(K, 9, SEEDS, 2)
    move = lambda t: jax.tree.map(lambda a, b: a + t * b, start, noise)
    return [start, move(0.1), move(0.5)]


@pytest.fixture(scope="module")
def seen(params):
    observe = ns.empirical.movement(K, X, Y).begin(K, params[0])
    return xr.concat([observe(step, each) for step, each in zip((0, 10, 50), params, strict=True)], dim="step")


def grams(params):
    one = [jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(SEEDS)]
    return [np.asarray(ns.empirical.ntk(K, each, X)) for each in one]


def cosine(a, b):
    return np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b))


def test_measures_are_those_of_the_kernels(params, seen):
    infinite, outer = np.asarray(K.ntk(X)), Y @ Y.T
    H = np.eye(len(X)) - 1 / len(X)
    start = grams(params[0])
    for t in range(3):
        for i, now in enumerate(grams(params[t])):
            r = seen.isel(seed=i, step=t)
            expected = {
                "kernel_drift": np.linalg.norm(now - start[i]) / np.linalg.norm(start[i]),
                "kernel_rotation": 1 - cosine(now, start[i]),
                "kernel_error": np.linalg.norm(now - infinite) / np.linalg.norm(infinite),
                "kernel_alignment": cosine(now, outer),
                "centered_kernel_alignment": cosine(H @ now @ H, H @ outer @ H),
            }
            for name, value in expected.items():
                # 1 − cosine has lost the digits that half a squared distance keeps.
                assert float(r[name]) == pytest.approx(value, rel=1e-11, abs=1e-14), name
            np.testing.assert_allclose(r.kernel_eigenvalue, np.linalg.eigvalsh(now)[::-1][:8], rtol=1e-11)
            assert (r.kernel_eigenvalue_error < 1e-12 * r.kernel_eigenvalue[0]).all()
    assert (seen.kernel_drift.sel(step=0) == 0).all()
    # The square of a rounding.
    assert (seen.kernel_rotation.sel(step=0) < 100 * np.finfo(float).eps ** 2).all()
    assert (seen.kernel_drift.sel(step=50) > seen.kernel_drift.sel(step=10)).all()


def test_for_one_channel_alignment_is_the_rayleigh_quotient_of_the_labels(params):
    y = Y[:, 0]
    r = ns.empirical.movement(K, X, y)(0, params[0])
    for i, now in enumerate(grams(params[0])):
        expected = y @ now @ y / (y @ y * np.linalg.norm(now))
        assert float(r.kernel_alignment[i, 0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_rayleigh_quotients_are_those_of_plane_waves(masked, params, seen):
    kept = np.flatnonzero(np.random.default_rng(0).random(len(X)) < 0.6) if masked else np.arange(len(X))
    kept = np.union1d(kept, [0, 1, 5, len(X) - 1])
    r = ns.empirical.movement(K, X[kept], Y[kept])(0, params[0]) if masked else seen
    grid = ns.operator.dense(K, X[kept]).placement.grid
    assert grid.shape == SHAPE
    axes = np.meshgrid(*(np.fft.fftfreq(n, d=1 / n) for n in SHAPE), indexing="ij")
    k = np.stack([axis.ravel() for axis in axes], axis=1)
    waves = np.exp(2j * np.pi * X[kept] @ k.T)
    band = np.rint(np.linalg.norm(k, axis=1) / grid.frequency_step)
    for i, now in enumerate(grams(params[0])):
        now = now[np.ix_(kept, kept)]
        quotient = np.real(np.sum(waves.conj() * (now @ waves), axis=0)) / len(kept)
        expected = [quotient[band == b].mean() for b in np.unique(band)]
        np.testing.assert_allclose(r.kernel_rayleigh_quotient[i, 0], expected, rtol=1e-11)
    np.testing.assert_allclose(r.kernel_frequency, np.unique(band) * grid.frequency_step)


def test_the_infinite_kernel_is_that_of_the_eigen_room(seen):
    s = ns.eigen.spectrum(LATTICE, num_modes=2)
    np.testing.assert_allclose(seen.infinite_rayleigh_quotient, s.rayleigh_quotient, rtol=1e-10)
    np.testing.assert_allclose(seen.kernel_frequency, s.frequency)


def test_seeds_and_precisions(params, seen):
    observe = ns.empirical.movement(K, X, Y)
    for dtype, most in (("float32", 1e-5), ("bfloat16", 0.1)):
        start, moved = (jax.tree.map(lambda leaf, d=dtype: leaf.astype(d), params[t]) for t in (0, 2))
        begun = observe.begin(K, start)
        low = [begun(0, start), begun(50, moved)]
        r = xr.concat(low, dim="step")
        error = np.abs(r.kernel_drift - seen.kernel_drift.sel(step=[0, 50])).max()
        assert 0 < error < most
        assert r.kernel_drift.dtype == np.float64
    # Networks two at a time, the last one alone.
    apart = replace(observe.begin(K, params[0]), together=2)
    np.testing.assert_allclose(apart(50, params[2]).kernel_drift, seen.kernel_drift.sel(step=[50]), rtol=1e-12)


def test_linearised_networks_do_not_move(params):
    k = ns.kernel.linearised(K)
    start = {"start": params[0], "shift": jax.tree.map(jnp.zeros_like, params[0])}
    observe = ns.empirical.movement(k, X, Y).begin(k, start)
    first = observe(0, start)
    later = observe(5, {**start, "shift": params[1]})
    assert float(later.kernel_drift.max()) == 0
    np.testing.assert_array_equal(first.kernel_error, later.kernel_error[:, ::1])


def test_any_network_can_be_observed():
    stax = ns.kernel.stax.load().stax
    k = ns.kernel.compose(K.mapping, ns.kernel.from_stax(*stax.serial(stax.Dense(8), stax.Erf(), stax.Dense(1))))
    params = jax.vmap(k.init)(jax.random.split(jax.random.key(0), 2))
    r = ns.empirical.movement(k, X[:8], Y[:8, 0])(0, params)
    expected = ns.empirical.ntk(k, jax.tree.map(lambda leaf: leaf[1], params), X[:8])
    np.testing.assert_allclose(r.kernel_eigenvalue[1, 0], np.linalg.eigvalsh(expected)[::-1], rtol=1e-10)


def test_training_a_narrow_network_aligns_its_kernel_with_the_target():
    x = np.arange(16)[:, None] / 16
    y = 2 * np.sin(2 * np.pi * 3 * x[:, 0])
    k = ns.kernel.compose(ns.mapping.power_law(8, p=1.0), ns.kernel.MLP(depth=2, width=32))
    params = drawn(k, 0, 4, 1)
    observe = ns.empirical.movement(k, x, y).begin(k, params)

    @jax.jit
    @jax.vmap
    def train(params):
        slope = jax.grad(lambda p: jnp.sum((k.apply(p, x)[:, 0] - y) ** 2) / 2)
        descend = lambda _, p: jax.tree.map(lambda leaf, g: leaf - 0.05 * g, p, slope(p))
        return jax.lax.fori_loop(0, 300, descend, params)

    r = xr.concat([observe(0, params), observe(300, train(params))], dim="step")
    first, last = r.isel(step=0), r.isel(step=1)
    assert (last.kernel_drift > 0.1).all()
    assert (last.centered_kernel_alignment > first.centered_kernel_alignment).all()
    first, last = first.mean("seed"), last.mean("seed")
    # The kernel grows most at the frequency of the target: features are learned.
    growth = (last.kernel_rayleigh_quotient / first.kernel_rayleigh_quotient).drop_sel(kernel_frequency=0.0)
    assert float(growth.kernel_frequency[int(np.argmax(growth.values))]) in (3.0, 6.0)


def test_samples():
    lattice = np.stack(np.meshgrid(np.arange(8) / 8, np.arange(8) / 8, indexing="ij"), -1).reshape(-1, 2)
    np.testing.assert_array_equal(sample(lattice, 64, 0), np.arange(64))
    every = sample(lattice, 20, 0)
    np.testing.assert_allclose(np.unique(lattice[every]), [0, 0.25, 0.5, 0.75])
    assert len(every) == 16
    # A mask of odd rows: places are counted from the first point there is.
    odd = lattice[np.flatnonzero(lattice[:, 0] * 8 % 2 == 1)]
    assert len(sample(odd, 10, 0)) == 8
    scattered = np.random.default_rng(0).random((64, 2))
    first, same, other = (sample(scattered, 10, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert len(first) == len(np.unique(first)) == 10
    assert list(first) != list(other)
    # The longest axis is thinned first.
    two = lattice[np.flatnonzero(np.isin(lattice[:, 0] * 8, (1, 7)))]
    np.testing.assert_allclose(np.unique(two[sample(two, 10, 0)], axis=0)[:, 0], [1 / 8] * 4 + [7 / 8] * 4)
    # A mask without a point on any coarser lattice: odd places, and the first corner alone.
    holes = lattice[np.flatnonzero((lattice * 8 % 2 == 1).all(axis=1) | (lattice == 0).all(axis=1))]
    assert len(sample(holes, 10, 0)) == 10


def test_a_sample_stands_for_all_points(params):
    k = ns.kernel.compose(ns.mapping.power_law(2, p=1.0), ns.kernel.MLP(depth=1, width=24, activation="erf"))
    x = np.arange(64)[:, None] / 64
    params = drawn(k, 0, 2, 1)
    whole, part = (ns.empirical.movement(k, x, x[:, 0], max_points=m)(0, params) for m in (64, 32))
    assert part.attrs["kernel_points"] == 32
    assert part.attrs["kernel_points_of"] == 64
    # A smooth kernel of low frequencies: what folds is small.
    np.testing.assert_allclose(part.kernel_eigenvalue, whole.kernel_eigenvalue, rtol=1e-2)
    low = {"kernel_frequency": slice(0, 4)}
    np.testing.assert_allclose(
        part.kernel_rayleigh_quotient.isel(low), whole.kernel_rayleigh_quotient.isel(low), rtol=1e-2
    )
    np.testing.assert_allclose(part.infinite_rayleigh_quotient[:4], whole.infinite_rayleigh_quotient[:4], rtol=1e-2)
    assert float(part.kernel_frequency[-1]) == 16


def test_scattered_points_have_no_frequencies(params, rng):
    r = ns.empirical.movement(K, rng.random((9, 2)), Y[:9], num_eigenvalues=20)(0, params[0])
    assert "kernel_rayleigh_quotient" not in r
    assert r.sizes["mode"] == 9


def test_nothing_is_remembered(params, seen):
    observe = ns.empirical.movement(K, X, Y)
    first, other = (observe.begin(K, params[t]) for t in (0, 1))
    # In any order, and beside each other.
    last = first(50, params[2])
    assert float(other(50, params[1]).kernel_drift.max()) == 0
    assert (other(50, params[2]).kernel_drift < last.kernel_drift).all()
    xr.testing.assert_identical(first(50, params[2]), last)
    xr.testing.assert_identical(last, seen.sel(step=[50]))
    two = jax.tree.map(lambda leaf: leaf[:2], params[0])
    with pytest.raises(ValueError, match=r"those of 2 networks, and 3 began; .* observe\.begin\(k, params\) is"):
        first(7, two)
    np.testing.assert_array_equal(first.begin(K, two)(7, two).kernel_drift, 0)
    with pytest.raises(FrozenInstanceError):
        observe.start = last


def test_without_a_beginning_it_says_what_does_not_look_back(params, seen):
    alone = ns.empirical.movement(K, X, Y)(50, params[2])
    xr.testing.assert_identical(alone, seen.sel(step=[50]).drop_vars(["kernel_drift", "kernel_rotation"]))


def test_it_begins_for_another_kernel_as_if_it_were_built_for_it(params):
    equal, other = (ns.kernel.compose(ns.mapping.gaussian(2, 6, scale=scale), K.network) for scale in (1.0, 3.0))
    observe, built = ns.empirical.movement(K, X, Y), ns.empirical.movement(other, X, Y)
    assert observe.begin(equal, params[0]).infinite is observe.infinite
    begun = observe.begin(other, params[0])
    xr.testing.assert_identical(begun(50, params[2]), built.begin(other, params[0])(50, params[2]))
    assert np.abs(begun.infinite - observe.infinite).max() > 1e-3
    # Once, for the next part of its networks, too.
    assert observe.begin(other, params[1]).infinite is begun.infinite
    wider = ns.kernel.compose(K.mapping, ns.kernel.MLP(depth=1, width=32, b_std=0.2))
    assert observe.begin(wider, drawn(wider, 0, 2, 2))(0, drawn(wider, 0, 2, 2)).sizes["seed"] == 2
    for one, x, another, message in (
        (K.network, K.mapping(X), K, "built for a network alone, and is to look at one behind a mapping"),
        (K, X, K.network, "built for a network behind a mapping, and is to look at one alone"),
    ):
        with pytest.raises(ValueError, match=message):
            ns.empirical.movement(one, x, Y).begin(another, params[0])
    with pytest.raises(TypeError, match="`k` is a int; expected a network"):
        observe.begin(3, params[0])


def test_leading_eigenvalues_are_within_their_bounds(rng):
    rotation, _ = np.linalg.qr(rng.standard_normal((200, 200)))
    smooth = np.exp(-0.1 * np.arange(200))
    # Flat: not converged after 96 steps, and the bounds say so. Pairs and few values: the subspace ends early.
    flat = 1 + 1e-3 * np.arange(200)[::-1] / 200
    few = np.repeat([3.0, 2.0, 1.0, 0.0], 50)
    spectra = np.stack([smooth, flat, few])
    kernels = (rotation * spectra[:, None]) @ rotation.T
    value, error = leading_eigenvalues(jnp.asarray(kernels), 8)
    distance = np.abs(value[:, :, None] - spectra[:, None]).min(axis=2)
    assert (distance <= error).all()
    np.testing.assert_allclose(value[0], smooth[:8], rtol=1e-12)
    np.testing.assert_allclose(value[2], 3.0, rtol=1e-12)
    assert error[1].max() > 1e-8
    assert error[[0, 2]].max() < 1e-10


def test_a_learned_mapping_is_refused_before_any_step(params):
    options = {"steps": [0, 1], "learning_rate": 1e-3, "seeds": 1, "trainable": ("amplitudes",)}
    with pytest.raises(ValueError, match=r"of networks behind a learned mapping, .* train with trainable=\(\), or"):
        ns.trainer.train(K, X, Y, observe=ns.empirical.movement(K, X, Y), **options)
    behind = {"network": params[0], "mapping": {"amplitudes": np.ones((SEEDS, 6))}}
    with pytest.raises(ValueError, match="behind the mapping that it was given"):
        ns.empirical.movement(K, X, Y)(0, behind)


def test_bad_input_is_refused_in_words(params):
    observe = ns.empirical.movement(K, X, Y)
    one = jax.tree.map(lambda leaf: leaf[0], params[0])
    with pytest.raises(ValueError, match=r"do not share a leading axis, .*leaf\[None\]"):
        observe(0, one)
    with pytest.raises(ValueError, match="not of this network"):
        observe(0, params[0][:1])
    with pytest.raises(ValueError, match=r"labels have shape \(3, 2\)"):
        ns.empirical.movement(K, X, Y[:3])
    with pytest.raises(ValueError, match="labels are all 0 at the points"):
        ns.empirical.movement(K, X, 0 * Y)
    for nothing in (None, 3, "a", object()):
        with pytest.raises(ValueError, match="do not share a leading axis"):
            ns.empirical.movement(K, X, Y)(0, nothing)
    for step in ("a", 1.5, None):
        with pytest.raises(TypeError, match=r"step=.*; expected the number of a step, as in observe\(0, params\)"):
            observe(step, params[0])
    with pytest.raises(TypeError, match="labels are partly None; expected numbers"):
        ns.empirical.movement(K, X, [None] * len(X))
    with pytest.raises(ValueError, match="seed='a'; expected a whole number"):
        ns.empirical.movement(K, X, Y, seed="a")
    with pytest.raises(ValueError, match="max_points=0; expected a positive integer"):
        ns.empirical.movement(K, X, Y, max_points=0)
    with pytest.raises(ValueError, match="this network has no width"):
        ns.empirical.movement(ns.kernel.compose(K.mapping, ns.kernel.MLP(depth=1)), X, Y)
    with pytest.raises(ValueError, match="has no derivative"):
        ns.empirical.movement(ns.kernel.compose(K.mapping, ns.kernel.MLP(1, "sign", width=4)), X, Y)
