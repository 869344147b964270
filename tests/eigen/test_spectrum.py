import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec.eigen import _exact as exact
from ntkspec.eigen._extreme import leading_eigenpairs
from ntkspec.eigen._frequency import dominant
from ntkspec.grid import Grid, Placement
from ntkspec.limits import limited

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
    # A tenth of the power stands 3 away from the label.
    np.testing.assert_allclose(s.frequency_spread, [0, 3 * np.sqrt(0.1)], atol=1e-6)


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

    monkeypatch.setattr("ntkspec.eigen._spectrum.leading_eigenpairs", called)
    ns.eigen.spectrum(lattices["2d"], num_modes=2)
    with pytest.raises(RuntimeError, match="block Lanczos"):
        ns.eigen.spectrum(degenerate[1])


def test_a_square_has_octets_and_they_are_found(degenerate):
    """The eight frequencies (±1, ±2), (±2, ±1) of the square's symmetries share one eigenvalue."""
    circulant, K, expected = degenerate
    exact = ns.eigen.spectrum(circulant, num_modes=60)
    assert 8 in exact.multiplicity
    s = ns.eigen.spectrum(K, num_modes=60)
    np.testing.assert_allclose(s.eigenvalue, expected[:60], rtol=0, atol=1e-10 * expected[0])
    # The last level is cut by the number of modes asked for.
    whole = int(np.sum(expected[:60] > 1.000001 * expected[59]))
    assert whole > 50
    np.testing.assert_array_equal(s.multiplicity[:whole], exact.multiplicity[:whole])


def test_pairs_of_a_masked_square_that_is_not_periodic():
    """A disc of points keeps the square's symmetries: pairs, with no torus to hand them over."""
    k = ns.kernel.compose(ns.mapping.gaussian_limit(2, scale=1.3), ns.kernel.MLP(depth=1, b_std=0.1))
    centred = np.linspace(-1, 1, 38)
    K = ns.operator.lattice(k, (38, 38), centred[:, None] ** 2 + centred[None] ** 2 < 1)
    assert K.num_points > 1024
    s = ns.eigen.spectrum(K, num_modes=24, max_basis=64)
    expected = np.linalg.eigvalsh(np.asarray(K.to_dense()))[::-1]
    np.testing.assert_allclose(s.eigenvalue, expected[:24], rtol=0, atol=1e-10 * expected[0])
    assert s.converged.all()
    gap = -np.diff(expected[:25])
    pairs = np.flatnonzero(gap < 1e-9 * expected[0])
    assert len(pairs) >= 5
    assert (s.multiplicity.values[pairs[pairs < 23]] == 2).all()
    assert s.multiplicity[0] == 1


def test_max_basis_bounds_memory_and_not_what_is_found(degenerate):
    _, K, expected = degenerate
    small, large = (leading_eigenpairs(K, 30, tolerance=1e-9, max_basis=m) for m in (64, 256))
    for pairs in (small, large):
        assert pairs.residuals.max() <= 1e-9 * expected[0]
        np.testing.assert_allclose(pairs.values, expected[:30], rtol=0, atol=1e-11 * expected[0])


def test_single_precision_is_in_the_error_bound(degenerate):
    _, K, expected = degenerate
    single = ns.operator.Dense(K.coordinates, K.matrix.astype(np.float32))
    s = ns.eigen.spectrum(single, num_modes=10)
    assert (np.abs(s.eigenvalue - expected[:10]) <= s.eigenvalue_error).all()
    assert s.eigenvalue_error.max() < 1e-5 * expected[0]
    assert s.converged.all()
    assert s.eigenvalue.dtype == np.float64


def test_points_off_a_lattice_take_block_lanczos_too(degenerate, rng):
    _, K, expected = degenerate
    moved = ns.operator.Dense(jnp.asarray(rng.random(K.coordinates.shape)), K.matrix)
    assert moved.placement is None
    s = ns.eigen.spectrum(moved, num_modes=10)
    np.testing.assert_allclose(s.eigenvalue, expected[:10], rtol=0, atol=1e-10 * expected[0])
    assert np.isnan(s.frequency_spread).all()


# Half spectra, frequencies of eigenvectors


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.data())
def test_ordered_half_is_the_sorted_whole(levels, data):
    """Few distinct values, so that there are long ties, at every cut."""
    value = 1.0 + np.asarray(levels, dtype=float)
    weight = np.asarray(data.draw(st.lists(st.sampled_from([1, 2]), min_size=len(levels), max_size=len(levels))))
    whole = np.sort(np.repeat(value, weight))[::-1]
    num_modes = data.draw(st.integers(1, len(whole)))
    radius = np.arange(len(value))[::-1].astype(float) if data.draw(st.booleans()) else None
    order, times = exact.ordered_half(value, weight.astype(np.int8), radius, num_modes, 1e-9)
    np.testing.assert_array_equal(np.repeat(value[order], weight[order])[:num_modes], whole[:num_modes])
    np.testing.assert_array_equal(times, [np.sum(whole == v) for v in value[order]])
    place = np.arange(len(value)) if radius is None else radius
    for v in np.unique(value[order])[1:]:
        assert (np.diff(place[order[value[order] == v]]) > 0).all()


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([(1,), (2,), (7,), (8,), (4, 6), (5, 3), (3, 4, 2), (2, 3, 5)]), st.integers(0, 10**6))
def test_dominant_frequency_power_and_spread_by_the_full_transform(shape, seed):
    rng = np.random.default_rng(seed)
    grid = Grid.unit(shape)
    index = np.flatnonzero(rng.random(grid.size) < 0.8)
    index = np.arange(grid.size) if not len(index) else index
    vectors = rng.standard_normal((len(index), 3))
    found = dominant(vectors, Placement(grid, index))
    axes = np.meshgrid(*[np.fft.fftfreq(n, d=1 / n) for n in shape], indexing="ij")
    frequency = np.stack([axis.ravel() for axis in axes], axis=1)
    radius = np.linalg.norm(frequency, axis=1)
    for mode in range(3):
        power = np.abs(np.fft.fftn(Placement(grid, index).extend(vectors[:, mode]))).ravel() ** 2
        label = found["dominant_frequency"][1][mode]
        same = np.zeros(grid.size, dtype=bool)
        for sign in (1, -1):
            apart = (frequency - sign * label) / np.asarray(shape)
            same |= (np.abs(apart - np.rint(apart)) < 1e-9).all(axis=1)
        assert power[same].max() == pytest.approx(power.max(), rel=1e-9)
        part = found["dominant_power"][1][mode]
        assert part == pytest.approx(power[same].sum() / power.sum(), rel=1e-9)
        spread = np.sqrt(power @ (radius - np.linalg.norm(label)) ** 2 / power.sum())
        assert found["frequency_spread"][1][mode] == pytest.approx(spread, rel=1e-9, abs=1e-12)


def test_eigenvectors_are_transformed_in_batches(rng):
    vectors, placement = rng.standard_normal((12, 7)), Placement(Grid.unit((4, 3)), None)
    whole = dominant(vectors, placement)
    with limited(side_by_side=24):
        split = dominant(vectors, placement)
    for name, (_, values) in split.items():
        np.testing.assert_allclose(values, whole[name][1], rtol=1e-12)


def test_a_mask_spreads_frequencies_and_a_torus_does_not(lattices, masked):
    assert not ns.eigen.spectrum(lattices["2d periodic"]).frequency_spread.any()
    assert (ns.eigen.spectrum(masked["2d periodic"][0]).frequency_spread > 0.1).any()


@pytest.mark.parametrize("name", ["1d", "2d", "1d periodic", "2d periodic"])
def test_rates_are_the_mean_quotients_of_plane_waves(name, lattices, masked):
    for K in (lattices[name], masked[name][0]):
        s, grid = ns.eigen.spectrum(K), K.sublattice.grid
        matrix = np.asarray(K.to_dense())
        axes = np.meshgrid(*[np.fft.fftfreq(n, d=h) for n, h in zip(grid.shape, grid.spacing, strict=True)])
        frequency = np.stack([axis.ravel() for axis in axes], axis=1)
        waves = np.exp(2j * np.pi * K.points @ frequency.T)
        quotient = np.real(np.sum(waves.conj() * (matrix @ waves), axis=0)) / K.num_points
        band = np.rint(np.linalg.norm(frequency, axis=1) / grid.frequency_step)
        mean = [quotient[band == b].mean() for b in np.unique(band)]
        np.testing.assert_allclose(s.rayleigh_quotient, mean, rtol=0, atol=1e-12 * quotient.max())
        np.testing.assert_array_equal(s.frequency_count, [np.sum(band == b) for b in np.unique(band)])


@pytest.mark.slow
def test_ten_million_points_in_three_gigabytes():
    from benchmarks.measure import measure_apart

    standing, peak = measure_apart("""
import ntkspec as ns, psutil
k = ns.kernel.compose(ns.mapping.power_law(16, p=1.0), ns.kernel.MLP(depth=3))
K = ns.operator.lattice(k, shape=(10**7,))
K.transform.block_until_ready()
ns.eigen.spectrum(ns.operator.lattice(k, shape=(8,)))  # imports what any spectrum needs
print(psutil.Process().memory_info().rss)
assert ns.eigen.spectrum(K).sizes["mode"] == 10**7
""")
    assert peak < 3e9
    # Eigenvalues, frequencies, multiplicities and their order: 24 bytes a mode, and twice that on the way.
    assert peak - int(standing) < 72e7
