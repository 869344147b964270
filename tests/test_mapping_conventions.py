"""Other people's encodings: their code, written out in numpy on their coordinates, against the mapping here."""

import math

import numpy as np
import pytest

import ntkspec as ns
from ntkspec import mapping as mappings


def bmild_nerf(p, multires, pi=1.0, include_input=False):
    """run_nerf_helpers.py of bmild/nerf; the paper's equation 4 with pi."""
    columns = [p] if include_input else []
    for freq in 2.0 ** np.linspace(0, multires - 1, multires):
        columns += [np.sin(p * freq * pi), np.cos(p * freq * pi)]
    return np.concatenate(columns, axis=-1)


def tcnn_frequency(p, n_frequencies):
    """frequency.h of tiny-cuda-nn."""
    columns = []
    for i in range(p.shape[1]):
        for j in range(2 * n_frequencies):
            x = p[:, i] * 2.0 ** ((j // 2) % n_frequencies)
            columns.append(np.sin(x * np.pi + (j % 2) * (np.pi / 2)))
    return np.stack(columns, axis=1)


def sines(p, weights, phases):
    return np.sin(p @ weights.T + phases)


CASES = {
    "nerf paper": (lambda: mappings.nerf(2, 5, normalize=False), -1, 1, lambda p: bmild_nerf(p, 5, np.pi)),
    "nerf code": (lambda: mappings.nerf(2, 5, include_pi=False, normalize=False), -1, 1, lambda p: bmild_nerf(p, 5)),
    "nerf code, wide": (
        lambda: mappings.nerf(3, 4, include_pi=False, low=-1.5, high=1.5, normalize=False),
        -1.5,
        1.5,
        lambda p: bmild_nerf(p, 4),
    ),
    "tiny-cuda-nn": (lambda: mappings.tiny_cuda_nn(3, 6, normalize=False), 0, 1, lambda p: tcnn_frequency(p, 6)),
}


@pytest.mark.parametrize("name", CASES)
def test_inner_products_are_those_of_the_source(name, rng):
    build, low, high, source = CASES[name]
    g = build()
    v = rng.random((6, g.dim))
    features = source(low + (high - low) * v)
    assert features.shape == (6, g.num_features)
    # Phases of up to 2^5 π lose a few digits in the literal sines.
    np.testing.assert_allclose(g.inner(v[:, None] - v[None]), features @ features.T, atol=1e-11)


@pytest.mark.parametrize(
    ("build", "cycles"),
    [
        (lambda: mappings.nerf(1, 3), [1, 2, 4]),
        (lambda: mappings.nerf(1, 3, low=0, high=1), [0.5, 1, 2]),
        (lambda: mappings.nerf(1, 3, include_pi=False), np.array([1, 2, 4]) / math.pi),
        (lambda: mappings.nerf(1, 3, include_pi=False, low=0, high=1), np.array([1, 2, 4]) / (2 * math.pi)),
        (lambda: mappings.tiny_cuda_nn(1, 3), [0.5, 1, 2]),
        (lambda: mappings.positional(1, 4, 3), [0, 1, 3, 7]),
        (lambda: mappings.from_radians([[2 * math.pi], [1.0]]), [1, 1 / (2 * math.pi)]),
    ],
)
def test_true_cycles_per_unit(build, cycles):
    np.testing.assert_allclose(build().frequencies[:, 0], cycles, rtol=1e-15)


@pytest.mark.parametrize(
    ("build", "periodic"),
    [
        (lambda: mappings.nerf(2, 4), True),
        (lambda: mappings.nerf(2, 4, include_pi=False), False),
        (lambda: mappings.tiny_cuda_nn(2, 4), False),
        (lambda: mappings.bacon(2, 8, 32), True),
        (lambda: mappings.siren_first_layer(2, 8), False),
        (lambda: mappings.power_law(4, 1.0), True),
    ],
)
def test_periodic_kernels_get_circulant_lattices(build, periodic):
    g = build()
    assert g.periodic is periodic
    shape = (6, 5)[: g.dim]
    K = ns.operator.lattice(ns.kernel.compose(g, ns.kernel.MLP(depth=1)), shape)
    assert K.circulant is periodic


def test_nerf_octaves_stand_on_each_axis_in_turn():
    np.testing.assert_array_equal(mappings.nerf(2, 2).frequencies, [[1, 0], [2, 0], [0, 1], [0, 2]])


@pytest.mark.parametrize("normalize", [True, False])
def test_nerf_with_its_input_is_the_source_and_has_no_lag(normalize, rng):
    g = mappings.nerf(2, 3, include_pi=False, include_input=True, normalize=normalize)
    x = rng.random((5, 2))
    features = bmild_nerf(2 * x - 1, 3, include_input=True)
    norm = math.sqrt(6) if normalize else 1.0
    np.testing.assert_allclose(g(x) @ g(x).T, features @ features.T / norm**2, atol=1e-13)
    np.testing.assert_allclose(g(x)[:, :2], (2 * x - 1) / norm, rtol=1e-14)
    net = ns.kernel.MLP(depth=2, b_std=0.1)
    k = ns.kernel.compose(g, net)
    np.testing.assert_allclose(k.ntk(x), net.ntk(features / norm), rtol=1e-11)
    np.testing.assert_allclose(k.nngp(x, x[:2]), net.nngp(features / norm, features[:2] / norm), rtol=1e-11)
    assert (k.stationary, k.periodic, g.num_features, g.finite) == (False, False, 14, True)
    with pytest.raises(ValueError, match="one beside raw coordinates, so it is not a function of the lag"):
        k.ntk_lag([0.1, 0.2])
    with pytest.raises(ValueError, match=r"one beside raw coordinates; use operator\.dense"):
        ns.operator.lattice(k, (4, 4))


def test_nerf_with_its_input_trains(rng):
    k = ns.kernel.compose(mappings.nerf(1, 2, include_input=True), ns.kernel.MLP(depth=1, width=16))
    r = ns.trainer.train(k, rng.random((6, 1)), np.ones(6), steps=[0, 20], learning_rate=0.05, seeds=2)
    assert bool((r.loss.sel(step=20) < r.loss.sel(step=0)).all())


def test_bacon_is_uniform_on_whole_frequencies_of_its_band():
    b = np.asarray(mappings.bacon(2, 6000, max_frequency=32).frequencies)
    # round(π·32/4/2π) = 4 on each of the four layers.
    values, counts = np.unique(b, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(-4, 5))
    np.testing.assert_allclose(counts, 12_000 / 9, atol=4.5 * 34)


@pytest.mark.parametrize(
    ("options", "highest"),
    [
        # Issue 3 of the source: max_freq=8 in five layers gives a cut-off of "roughly 4" (5 × 1), 16 of 10 (5 × 2).
        ({"max_frequency": 8, "hidden_layers": 4}, 1),
        ({"max_frequency": 16, "hidden_layers": 4}, 2),
        ({"max_frequency": 32, "hidden_layers": 0}, 16),
        ({"max_frequency": 32, "low": -1, "high": 1}, 8),
        ({"max_frequency": 32, "quantization_interval": math.pi}, 4),
        # Python rounds halves to even: 2.5 layers' share is 2.
        ({"max_frequency": 20}, 2),
    ],
)
def test_bacon_max_freq_is_a_sample_rate(options, highest):
    assert float(abs(mappings.bacon(1, 500, **options).frequencies).max()) == highest


@pytest.mark.parametrize("omega_0", [30.0, 90.0])
@pytest.mark.parametrize("dim", [1, 2])
def test_siren_first_layer_is_what_many_sines_come_to(dim, omega_0, rng):
    g = mappings.siren_first_layer(dim, 4000, omega_0)
    assert float(abs(g.frequencies).max()) <= omega_0 / (math.pi * dim)
    m = 400_000
    weights = omega_0 * rng.uniform(-1 / dim, 1 / dim, (m, dim))
    phases = omega_0 * rng.uniform(-(dim**-0.5), dim**-0.5, m)
    v = rng.random((3, dim))
    layer = sines(2 * v - 1, weights, phases)
    # Mean squares of both; the mapping's own draw of 4000 scatters by 1/√(8·4000), and a phase that is not
    # quite uniform leaves at most ½ sin(2ω₀/√d)/(2ω₀/√d).
    left = 0.5 * abs(math.sin(2 * omega_0 / dim**0.5)) / (2 * omega_0 / dim**0.5)
    ours = np.asarray(g.inner(v[:, None] - v[None])) / g.num_features
    np.testing.assert_allclose(ours, layer @ layer.T / m, atol=4.5 * 32_000**-0.5 + left)
    assert ours[0, 0] == pytest.approx(0.5)


def test_siren_range_can_end_on_the_border():
    n = 8
    g = mappings.siren_first_layer(1, 5, low=-1, high=-1 + 2 * n / (n - 1))
    source = np.linspace(-1, 1, n)
    omega = 2 * np.pi * np.asarray(g.frequencies)[:, 0] / (2 * n / (n - 1))
    expected = np.cos((source[:, None, None] - source[None, :, None]) * omega).sum(-1)
    v = np.arange(n)[:, None] / n
    np.testing.assert_allclose(g.inner(v[:, None] - v[None]), expected, atol=1e-12)


@pytest.mark.parametrize(
    "build",
    [
        lambda **ends: mappings.nerf(2, 3, **ends),
        lambda **ends: mappings.nerf(2, 3, include_input=True, **ends),
        lambda **ends: mappings.tiny_cuda_nn(2, 3, **ends),
        lambda **ends: mappings.siren_first_layer(2, 5, **ends),
        lambda **ends: mappings.bacon(2, 5, 64, **ends),
        lambda **ends: mappings.from_radians([[3.0, 4.0]], **ends),
        lambda **ends: mappings.identity(2, **ends),
    ],
)
def test_each_axis_can_have_a_range_of_its_own(build):
    v = np.array([[0.0, 0.0], [0.25, 0.5]])
    both = build(low=[-1, 0], high=[1, 8])
    # Along each axis as if both had its range.
    for axis, ends in enumerate([{"low": -1, "high": 1}, {"low": 0, "high": 8}]):
        along = np.where(np.arange(2) == axis, v, 0)
        expected, found = (g(along) - g(0 * along) for g in (build(**ends), both))
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_identity_can_show_another_range():
    np.testing.assert_array_equal(mappings.identity(1, low=-1, high=1)([[0.0], [0.25]]), [[-1], [-0.5]])
    k = ns.kernel.compose(mappings.identity(1, low=-0.5, high=0.5), ns.kernel.MLP(depth=1, b_std=0.1))
    np.testing.assert_allclose(k.ntk([[0.2]], [[0.9]]), k.network.ntk([[-0.3]], [[0.4]]), rtol=1e-13)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: mappings.nerf(0, 4), "dim=0; expected a positive integer"),
        (lambda: mappings.nerf(2, 0), "num_frequencies=0; expected a positive integer"),
        (lambda: mappings.nerf(2, 4, low=1, high=1), r"low=1, high=1; expected finite numbers, low below high"),
        (lambda: mappings.tiny_cuda_nn(2, 4, high=math.inf), "high=inf; expected finite numbers"),
        (lambda: mappings.tiny_cuda_nn(2, -4), "num_frequencies=-4"),
        (lambda: mappings.bacon(1, 4, 0.0), r"max_frequency=0\.0; expected a positive number \(samples per unit"),
        (
            lambda: mappings.bacon(1, 4, 2),
            r"shared by 4 layers leaves none but the frequency 0.*or fewer hidden_layers",
        ),
        (lambda: mappings.bacon(1, 4, 32, hidden_layers=-1), "hidden_layers=-1; expected a positive integer"),
        (lambda: mappings.bacon(1, 4, 32, quantization_interval=0), "quantization_interval=0; expected a positive"),
        (lambda: mappings.siren_first_layer(1, 4, 0.0), r"omega_0=0\.0; expected a positive number"),
        (lambda: mappings.from_radians([1.0]), r"`B` has shape \(1,\)"),
        (lambda: mappings.from_radians([[1.0]], low=2, high=1), "low=2, high=1; expected"),
        (lambda: mappings.identity(1, low=math.nan), "low=nan, high=1.0; expected finite numbers"),
        (lambda: mappings.nerf(2, 3, low=[-1, 0, 0]), "one or 2 of each"),
    ],
)
def test_bad_input_is_refused_in_words(build, message):
    with pytest.raises(ValueError, match=message):
        build()
