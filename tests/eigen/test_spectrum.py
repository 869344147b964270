import importlib

import jax.numpy as jnp
import numpy as np
import pytest

import ntkspec as ns
from ntkspec.eigen.extreme import leading_eigenpairs

EPS = np.finfo(np.float64).eps
PAPER = {0: (187.782, 8.301, 8.301, 11.187), 1: (201.604, 41.185, 3.736, 2.193)}


@pytest.fixture(scope="module", params=PAPER)
def paper(request):
    net = ns.kernel.MLP(depth=3, W_std=1.0, b_std=0.0, parametrization="standard", width=1024)
    return ns.kernel.compose(ns.mapping.power_law(16, request.param), net), PAPER[request.param]


def at_frequency(s, frequency):
    found = s.eigenvalue.values[s.dominant_frequency[:, 0].values == frequency]
    assert len(found) == (1 if frequency in (0, 16) else 2)
    assert np.ptp(found) < 1e-12 * s.eigenvalue.values[0]
    return found[0]


@pytest.mark.parametrize("reached", ["lattice", "strided mask"])
def test_the_papers_spectrum(paper, reached):
    """Paper, figure 2: eigenvalues at k = 0, 1, 8, 16 of 32 points x = j/32, to three decimals."""
    k, expected = paper
    if reached == "lattice":
        K = ns.operator.lattice(k, (32,))
    else:
        K = ns.operator.lattice(k, (256,), np.arange(256) % 8 == 0)
    s = ns.eigen.spectrum(K)
    np.testing.assert_allclose([at_frequency(s, f) for f in (0, 1, 8, 16)], expected, rtol=0, atol=5e-4)
    # Θ(0) = 14 on the diagonal.
    assert float(s.trace) == pytest.approx(32 * 14, rel=1e-13)
    assert s.attrs["complete"] == 1


@pytest.mark.parametrize("name", ["1d", "2d", "3d", "1d periodic", "2d periodic"])
@pytest.mark.parametrize("holes", [False, True], ids=["full", "masked"])
def test_all_modes_are_numpys(name, holes, lattices, masked):
    K = masked[name][0] if holes else lattices[name]
    s = ns.eigen.spectrum(K)
    matrix = np.asarray(K.to_dense())
    expected = np.linalg.eigvalsh(matrix)[::-1]
    np.testing.assert_allclose(s.eigenvalue, expected, rtol=0, atol=50 * EPS * expected[0])
    # eigvalsh carries the same bound as what is tested.
    assert (np.abs(s.eigenvalue - expected) <= 2 * s.eigenvalue_error).all()
    assert float(s.trace) == pytest.approx(np.trace(matrix), rel=1e-13)
    assert float(s.eigenvalue.sum()) == pytest.approx(float(s.trace), rel=1e-12)
    assert float(s.frobenius_norm) == pytest.approx(float(np.sqrt((s.eigenvalue**2).sum())), rel=1e-12)
    assert dict(s.sizes)["mode"] == K.num_points == s.attrs["num_points"]


@pytest.mark.parametrize("name", ["1d periodic", "2d periodic"])
def test_circulant_frequencies_belong_to_their_eigenvalues(name, lattices):
    K = lattices[name]
    s = ns.eigen.spectrum(K)
    matrix = np.asarray(K.to_dense())
    for value, frequency in zip(s.eigenvalue.values, s.dominant_frequency.values, strict=True):
        wave = np.exp(2j * np.pi * K.points @ frequency)
        np.testing.assert_allclose(matrix @ wave, value * wave, rtol=0, atol=1e-12 * s.eigenvalue.values[0])
        first = frequency[np.flatnonzero(frequency)[:1]]
        assert (first > 0).all()
    assert (s.dominant_power == 1).all()


def test_circulant_pairs_have_multiplicity_two(lattices):
    s = ns.eigen.spectrum(lattices["1d periodic"])
    alone = np.isin(s.dominant_frequency[:, 0], [0, 6])
    np.testing.assert_array_equal(s.multiplicity, np.where(alone, 1, 2))


def test_dense_and_circulant_paths_agree(lattices):
    K = lattices["2d periodic"]
    by_fft = ns.eigen.spectrum(K)
    by_eigh = ns.eigen.spectrum(ns.operator.Dense(jnp.asarray(K.points), K.to_dense()))
    np.testing.assert_allclose(by_eigh.eigenvalue, by_fft.eigenvalue, rtol=0, atol=1e-13 * float(by_fft.eigenvalue[0]))
    np.testing.assert_array_equal(by_eigh.multiplicity, by_fft.multiplicity)
    radius = [np.linalg.norm(s.dominant_frequency, axis=1) for s in (by_eigh, by_fft)]
    np.testing.assert_allclose(radius[0][0], radius[1][0])
    assert "kernel_lag" in by_fft
    assert "kernel_lag" not in by_eigh


def test_dominant_power_is_the_part_at_plus_and_minus_the_frequency():
    # Two eigenvectors: a pure wave, and one with 9/10 of its power at another.
    x = np.arange(16) / 16
    wave = np.sqrt(1 / 8) * np.cos(2 * np.pi * 3 * x)
    mixed = np.sqrt(1 / 8) * (np.sqrt(0.9) * np.sin(2 * np.pi * 5 * x) + np.sqrt(0.1) * np.cos(2 * np.pi * 2 * x))
    matrix = 2 * np.outer(wave, wave) + np.outer(mixed, mixed)
    s = ns.eigen.spectrum(ns.operator.Dense(jnp.asarray(x[:, None]), jnp.asarray(matrix)), num_modes=2)
    np.testing.assert_allclose(s.dominant_frequency[:, 0], [3, 5])
    np.testing.assert_allclose(s.dominant_power, [1, 0.9], rtol=1e-12)


def test_frequencies_of_a_strided_sublattice_are_those_of_the_full_unit(lattices, kernels):
    mask = np.zeros((12, 10), dtype=bool)
    mask[::2, ::2] = True
    strided = ns.eigen.spectrum(ns.operator.lattice(kernels["2d periodic"], (12, 10), mask))
    small = ns.eigen.spectrum(lattices["2d periodic"])
    np.testing.assert_allclose(strided.eigenvalue, small.eigenvalue, rtol=0, atol=1e-13 * float(small.eigenvalue[0]))
    np.testing.assert_allclose(strided.dominant_frequency, small.dominant_frequency)


def test_scattered_points_have_no_frequency(kernels, rng):
    s = ns.eigen.spectrum(ns.operator.dense(kernels["2d"], rng.random((12, 2))))
    assert np.isnan(s.dominant_frequency).all()
    assert np.isnan(s.dominant_power).all()


def test_num_modes_takes_the_largest(lattices, masked):
    for K in (lattices["1d periodic"], masked["2d"][0]):
        s, all_modes = ns.eigen.spectrum(K, num_modes=3), ns.eigen.spectrum(K)
        np.testing.assert_array_equal(s.eigenvalue, all_modes.eigenvalue[:3])
        assert s.attrs["complete"] == 0
        assert float(s.trace) == float(all_modes.trace)


@pytest.mark.parametrize("path", ["circulant", "dense"])
def test_num_modes_does_not_change_multiplicity(path, lattices):
    K = lattices["1d periodic"]
    if path == "dense":
        K = ns.operator.Dense(jnp.asarray(K.points), K.to_dense())
    # The constant mode, then one of a pair.
    assert ns.eigen.spectrum(K).multiplicity[:3].values.tolist() == [1, 2, 2]
    assert ns.eigen.spectrum(K, num_modes=2).multiplicity.values.tolist() == [1, 2]


def test_which_changes_the_spectrum(kernels, lattices):
    nngp = ns.eigen.spectrum(ns.operator.lattice(kernels["2d"], (5, 4), which="nngp"))
    assert (nngp.eigenvalue < ns.eigen.spectrum(lattices["2d"]).eigenvalue).all()


def test_lag_profile_is_the_kernel_along_the_axes(kernels, lattices):
    s = ns.eigen.spectrum(lattices["2d"])
    assert s.kernel_lag.sizes == {"axis": 2, "lag": 1025}
    along = np.zeros((1025, 2))
    along[:, 1] = s.lag
    np.testing.assert_allclose(s.kernel_lag[1], kernels["2d"].ntk_lag(along), rtol=1e-13)


@pytest.mark.parametrize("num_modes", [0, -1, 21])
def test_impossible_numbers_of_modes_are_refused(num_modes, lattices):
    with pytest.raises(ValueError, match=rf"num_modes={num_modes}; expected between 1 and the number of points, 20"):
        ns.eigen.spectrum(lattices["2d"], num_modes=num_modes)


# Block Lanczos


@pytest.fixture(scope="module")
def degenerate():
    """The basic mapping on a square: pairs, quadruples and octets of equal eigenvalues; n = 1,156."""
    k = ns.kernel.compose(ns.mapping.basic(2), ns.kernel.MLP(depth=3, b_std=0.1))
    K = ns.operator.lattice(k, (34, 34))
    matrix = np.asarray(K.to_dense())
    return K, ns.operator.Dense(jnp.asarray(K.points), jnp.asarray(matrix)), np.linalg.eigvalsh(matrix)[::-1]


def test_block_lanczos_finds_the_leading_modes_with_their_multiplicity(degenerate):
    circulant, K, expected = degenerate
    s = ns.eigen.spectrum(K, num_modes=30)
    error = np.abs(s.eigenvalue - expected[:30])
    assert (error <= s.eigenvalue_error + 50 * EPS * expected[0]).all()
    assert (s.eigenvalue_error <= 1.1e-8 * expected[0]).all()
    # The square of a residual of 1e-8 over gaps of 1e-6 and more.
    assert error.max() < 1e-10 * expected[0]
    exact = ns.eigen.spectrum(circulant)
    np.testing.assert_array_equal(s.multiplicity[:25], exact.multiplicity[:25])
    assert {1, 4} <= set(s.multiplicity.values.tolist())
    assert s.attrs["complete"] == 0
    np.testing.assert_allclose(
        np.linalg.norm(s.dominant_frequency[:9], axis=1),
        np.linalg.norm(exact.dominant_frequency[:9], axis=1),
        atol=1e-9,
    )


def test_block_lanczos_eigenvectors_are_orthonormal_pairs(degenerate):
    _, K, expected = degenerate
    pairs = leading_eigenpairs(K, 30, tolerance=1e-8)
    np.testing.assert_allclose(pairs.vectors.T @ pairs.vectors, np.eye(30), atol=1e-12)
    residual = np.linalg.norm(np.asarray(K @ pairs.vectors) - pairs.vectors * pairs.values, axis=0)
    np.testing.assert_allclose(residual, pairs.residuals, rtol=0, atol=1e-12 * expected[0])


def test_tolerance_max_products_and_seed_have_an_effect(degenerate):
    _, K, expected = degenerate
    rough = leading_eigenpairs(K, 30, tolerance=1e-2)
    fine = leading_eigenpairs(K, 30, tolerance=1e-8)
    assert fine.residuals.max() < 1e-8 * expected[0] <= rough.residuals.max() <= 1e-2 * expected[0]
    short = leading_eigenpairs(K, 30, tolerance=1e-14, max_products=48)
    assert short.residuals.max() > 1e-8 * expected[0]
    # A residual bounds the distance to some eigenvalue; so few products may have missed one above it.
    assert (np.abs(short.values[:, None] - expected).min(axis=1) <= short.residuals + 1e-12).all()
    assert (short.values <= expected[:30] + 1e-12).all()
    other = leading_eigenpairs(K, 30, tolerance=1e-2, seed=1)
    assert (other.residuals != rough.residuals).any()


def test_block_lanczos_of_a_low_rank_operator_ends_in_an_invariant_subspace():
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(rng.standard_normal((200, 5)))
    value = np.array([5.0, 3.0, 3.0, 2.0, 1.0])
    K = ns.operator.Dense(jnp.zeros((200, 1)), jnp.asarray((Q * value) @ Q.T))
    pairs = leading_eigenpairs(K, 12, tolerance=1e-10)
    np.testing.assert_allclose(pairs.values, [*value, *[0] * 7], atol=1e-12)


def test_large_lattices_take_block_lanczos_and_small_ones_do_not(degenerate, monkeypatch, lattices):
    def called(*args, **kwargs):
        raise RuntimeError("block Lanczos")

    monkeypatch.setattr(importlib.import_module("ntkspec.eigen.spectrum"), "leading_eigenpairs", called)
    ns.eigen.spectrum(lattices["2d"], num_modes=2)
    with pytest.raises(RuntimeError, match="block Lanczos"):
        ns.eigen.spectrum(degenerate[1])
