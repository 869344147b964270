import dataclasses

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracle_dense
import pytest
from hypothesis import HealthCheck, given, settings

import ntkspec as ns
from ntkspec.limits import limited
from ntkspec.operator import _torus as torus
from ntkspec.operator._lattice import whole

EPS = np.finfo(np.float64).eps
NAMES = ["1d", "2d", "3d", "1d periodic", "2d periodic"]
#: Against entries of the kernel at lag 0: transforms and versines of a few hundred numbers.
CLOSE = {"rtol": 0, "atol": 2e-13}


@pytest.fixture(scope="module")
def whole_matrix(lattices):
    """The full lattices' matrices; the first test holds them against the Gram on the points."""
    return {name: np.asarray(K.to_dense()) for name, K in lattices.items()}


@pytest.mark.parametrize("name", NAMES)
def test_lattice_is_the_gram_on_its_points(name, lattices, kernels):
    K = lattices[name]
    np.testing.assert_allclose(K.points, oracle_dense.lattice_points(K.sublattice.shape), atol=EPS)
    matrix = np.asarray(K.to_dense())
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(matrix, kernels[name].ntk(K.points), **CLOSE)
    np.testing.assert_allclose(K.diagonal(), np.diag(matrix), **CLOSE)
    assert K.shape == matrix.shape
    assert float(K.frobenius_norm()) == pytest.approx(np.linalg.norm(matrix), rel=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_products_are_those_of_the_matrix(name, lattices, rng):
    K = lattices[name]
    v = rng.standard_normal((K.num_points, 3))
    matrix = np.asarray(K.to_dense())
    tolerance = 50 * EPS * np.abs(matrix).max() * K.num_points
    np.testing.assert_allclose(K @ v, matrix @ v, rtol=0, atol=tolerance)
    np.testing.assert_allclose(K @ v[:, 0], matrix @ v[:, 0], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_masked_lattice_is_the_gram_on_the_kept_points(name, masked, whole_matrix, rng):
    K, mask = masked[name]
    np.testing.assert_allclose(K.points, oracle_dense.lattice_points(mask.shape)[mask.ravel()], atol=EPS)
    matrix = np.asarray(K.to_dense())
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(matrix, whole_matrix[name][np.ix_(mask.ravel(), mask.ravel())], **CLOSE)
    np.testing.assert_allclose(K.diagonal(), np.diag(matrix), **CLOSE)
    assert float(K.frobenius_norm()) == pytest.approx(np.linalg.norm(matrix), rel=1e-13)
    v = rng.standard_normal((K.num_points, 2))
    np.testing.assert_allclose(K @ v, matrix @ v, rtol=0, atol=50 * EPS * matrix.max() * K.num_points)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(1, 19)), seed=st.integers(0, 2**16))
def test_any_mask_selects_rows_and_columns(order, seed, kernels, whole_matrix):
    # Nine kept points with both corners and a neighbour: one compiled program for all masks.
    index = np.sort([0, 19, 1, 4, *[i for i in order if i not in (1, 4)][:5]])
    mask = np.zeros(20, dtype=bool)
    mask[index] = True
    K = ns.operator.lattice(kernels["2d"], (5, 4), mask.reshape(5, 4))
    expected = whole_matrix["2d"][np.ix_(index, index)]
    np.testing.assert_allclose(K.to_dense(), expected, **CLOSE)
    v = np.random.default_rng(seed).standard_normal(9)
    np.testing.assert_allclose(K @ v, expected @ v, rtol=0, atol=1e-12)
    value = np.linalg.eigvalsh(np.asarray(K.to_dense()))
    assert value[0] > -1e-13 * value[-1]


def test_nngp_and_ntk_are_different_operators(kernels, lattices):
    K = ns.operator.lattice(kernels["2d"], (5, 4), which="nngp")
    np.testing.assert_allclose(K.to_dense(), kernels["2d"].nngp(K.points), **CLOSE)
    assert not np.allclose(K.to_dense(), lattices["2d"].to_dense())


@pytest.mark.parametrize("name", ["1d periodic", "2d periodic"])
def test_integer_frequencies_make_the_lattice_circulant(name, lattices):
    K = lattices[name]
    assert K.circulant
    half = np.asarray(K.transform)
    last = K.sublattice.shape[-1]
    mirrored = np.concatenate([half, half[..., 1 : (last + 1) // 2]], axis=-1)
    expected = np.linalg.eigvalsh(np.asarray(K.to_dense()))
    np.testing.assert_allclose(np.sort(mirrored.ravel()), expected, rtol=0, atol=50 * EPS * expected[-1])


@pytest.mark.parametrize("name", ["1d", "2d", "3d"])
def test_other_frequencies_do_not(name, lattices):
    assert not lattices[name].circulant


def test_a_strided_mask_is_a_sublattice(kernels):
    mask = np.arange(24) % 2 == 0
    K = ns.operator.lattice(kernels["1d periodic"], (24,), mask)
    small = ns.operator.lattice(kernels["1d periodic"], (12,))
    assert (K.sublattice.shape, K.sublattice.stride, K.index) == ((12,), (2,), None)
    assert K.circulant
    np.testing.assert_allclose(K.transform, small.transform, rtol=0, atol=1e-13 * float(small.transform.max()))


@pytest.fixture(scope="module")
def large(kernels):
    return np.asarray(kernels["2d periodic"].ntk(oracle_dense.lattice_points((12, 8))))


@pytest.mark.parametrize(
    ("slices", "shape", "circulant"),
    [
        ((slice(0, None, 3), slice(0, None, 2)), (4, 4), True),
        ((slice(1, None, 3), slice(1, None, 2)), (4, 4), True),
        ((slice(0, None, 3), slice(2, 7, 2)), (4, 3), False),
        ((slice(5, 6), slice(3, 4)), (1, 1), True),
        ((slice(5, 6), slice(0, None)), (1, 8), True),
    ],
    ids=["stride", "offset", "part of an axis", "one point", "one row"],
)
def test_sublattices_of_a_periodic_kernel(slices, shape, circulant, kernels, large):
    mask = np.zeros((12, 8), dtype=bool)
    mask[slices] = True
    K = ns.operator.lattice(kernels["2d periodic"], (12, 8), mask)
    assert (K.sublattice.shape, K.index, K.circulant) == (shape, None, circulant)
    points = oracle_dense.lattice_points((12, 8))[mask.ravel()]
    np.testing.assert_allclose(K.points, points, atol=EPS)
    np.testing.assert_allclose(K.to_dense(), large[np.ix_(mask.ravel(), mask.ravel())], **CLOSE)
    np.testing.assert_allclose(K @ np.ones(len(points)), np.asarray(K.to_dense()).sum(1), rtol=1e-13)


def test_a_sublattice_with_holes_keeps_its_stride(kernels):
    mask = np.zeros(25, dtype=bool)
    mask[[0, 2, 4, 8, 10, 24]] = True
    K = ns.operator.lattice(kernels["1d"], (25,), mask)
    assert (K.sublattice.shape, K.sublattice.stride) == ((13,), (2,))
    np.testing.assert_array_equal(K.index, [0, 1, 2, 4, 5, 12])


@pytest.mark.parametrize("name", NAMES)
def test_field_and_restrict(name, masked, lattices, whole_matrix, rng):
    K, mask = masked[name]
    w = rng.standard_normal((K.num_points, 2))
    cross = whole_matrix[name][:, mask.ravel()]
    field = np.asarray(K.field(w))
    assert field.shape == (*mask.shape, 2)
    np.testing.assert_allclose(field.reshape(-1, 2), cross @ w, rtol=0, atol=1e-12 * np.abs(cross).sum(1).max())
    np.testing.assert_allclose(K.field(w[:, 0]), field[..., 0], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(K.restrict(field), field[mask])
    np.testing.assert_allclose(K.restrict(field), K @ w, rtol=0, atol=1e-12 * np.abs(cross).sum(1).max())
    assert K.restrict(field[..., 0]).shape == (K.num_points,)
    # restrict is the adjoint of spreading, so ⟨field(w), u⟩ = ⟨w, restrict(K_full u)⟩.
    u = rng.standard_normal((*mask.shape, 2))
    back = K.restrict(np.asarray(lattices[name] @ u.reshape(-1, 2)).reshape(u.shape))
    assert np.sum(field * u) == pytest.approx(np.sum(w * np.asarray(back)), rel=1e-11)


@pytest.mark.parametrize("name", ["1d", "1d periodic"])
@pytest.mark.parametrize(
    "index", [[2], [4, 8], [1, 4, 7, 10], [0, 4, 8]], ids=["one point", "two", "stride 3", "stride 4"]
)
def test_field_of_a_sublattice_is_the_cross_kernel(name, index, kernels, whole_matrix, rng):
    whole = whole_matrix[name]
    mask = np.zeros(len(whole), dtype=bool)
    mask[index] = True
    K = ns.operator.lattice(kernels[name], mask.shape, mask)
    w = rng.standard_normal(len(index))
    np.testing.assert_allclose(K.field(w), whole[:, index] @ w, rtol=0, atol=1e-12)
    assert K.field_norm() >= np.linalg.norm(whole, 2) * (1 - 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_field_norm_bounds_the_whole_kernel(name, masked, lattices):
    K, _ = masked[name]
    norm = np.linalg.norm(np.asarray(lattices[name].to_dense()), 2)
    assert norm * (1 - 1e-12) <= K.field_norm() <= 2 ** len(K.sublattice.shape) * norm


def test_an_operator_is_a_pytree_that_jits_and_differentiates(masked, rng):
    K, _ = masked["1d"]
    v = jnp.asarray(rng.standard_normal(K.num_points))
    again = jax.tree.unflatten(jax.tree.structure(K), jax.tree.leaves(K))
    np.testing.assert_array_equal(again @ v, K @ v)
    slope = jax.jit(jax.grad(lambda v: v @ K.matvec(v) / 2))(v)
    np.testing.assert_allclose(slope, K @ v, rtol=0, atol=1e-12)
    by_transform = jax.grad(lambda K: v @ K.matvec(v), allow_int=True)(K).transform
    assert float(jnp.sum(by_transform * K.transform)) == pytest.approx(float(v @ (K @ v)), rel=1e-11)


def test_lattice_of_traced_frequencies_is_differentiable(kernels):
    k = kernels["1d"]

    def energy(k):
        K = ns.operator.lattice(k, (6,))
        return jnp.sum(K.matvec(jnp.arange(6.0)) ** 2)

    value, slope = jax.jit(jax.value_and_grad(energy))(k)
    dense = np.asarray(k.ntk(oracle_dense.lattice_points((6,))))
    assert float(value) == pytest.approx(np.sum((dense @ np.arange(6.0)) ** 2), rel=1e-12)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    assert (np.asarray(slope.mapping.frequencies) != 0).all()


@pytest.mark.parametrize("field", ["frequencies", "amplitudes"])
def test_gradients_are_difference_quotients(field, kernels, rng):
    mapping = kernels["2d"].mapping
    v = jnp.asarray(rng.standard_normal(20))
    direction = jnp.asarray(rng.standard_normal(getattr(mapping, field).shape))

    def form(step):
        moved = dataclasses.replace(mapping, **{field: getattr(mapping, field) + step * direction})
        return v @ ns.operator.lattice(ns.kernel.compose(moved, kernels["2d"].network), (5, 4)).matvec(v)

    form = jax.jit(form)
    # Central differences extrapolated to fourth order: h⁴ of truncation against ε/h of rounding.
    h = 5e-4
    near, far = ((form(s) - form(-s)) / (2 * s) for s in (h, 2 * h))
    slope = jax.jit(jax.grad(form))(0.0)
    assert float(slope) == pytest.approx(float((4 * near - far) / 3), rel=1e-7)


def test_lattices_of_many_scales_at_once(rng):
    v, scales = jnp.asarray(rng.standard_normal(12)), [0.5, 1.0, 3.0]

    def at(scale):
        k = ns.kernel.compose(ns.mapping.gaussian(1, 8, scale=scale), ns.kernel.MLP(depth=1, b_std=0.1))
        return ns.operator.lattice(k, (12,)).matvec(v)

    together = jax.vmap(at)(jnp.asarray(scales))
    np.testing.assert_allclose(together, np.stack([at(scale) for scale in scales]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["2d", "1d periodic"])
def test_float32_products_are_close_to_float64(name, lattices, whole_matrix, rng):
    K, matrix = lattices[name], whole_matrix[name]
    half = ns.operator.lattice(K.kernel, K.sublattice.full, dtype="float32")
    assert (half.dtype, half.transform.dtype, K.dtype) == (np.float32, np.float32, np.float64)
    assert half.circulant == K.circulant
    v = rng.standard_normal(K.num_points)
    product = half @ v
    assert product.dtype == np.float32
    stated = 1e-7 * np.log2(np.prod(K.sublattice.torus)) * np.linalg.norm(matrix, 2) * np.linalg.norm(v)
    assert np.linalg.norm(np.asarray(product, dtype=float) - matrix @ v) <= stated


def test_other_types_are_refused(kernels):
    with pytest.raises(ValueError, match="dtype=float16; expected float64 or float32"):
        ns.operator.lattice(kernels["1d"], (5,), dtype="float16")


@pytest.mark.parametrize(("name", "size"), [("2d", 2), ("3d", 1), ("3d", 2), ("2d periodic", 3)])
def test_products_in_pieces_are_those_of_the_whole(name, size, lattices, rng):
    K = lattices[name]
    v = jnp.asarray(rng.standard_normal(K.sublattice.shape))
    expected = torus.toeplitz(K.transform, v, K.sublattice.torus)
    pieces = jax.jit(torus.toeplitz, static_argnums=(2, 3))(K.transform, v, K.sublattice.torus, size)
    np.testing.assert_allclose(pieces, expected, rtol=0, atol=20 * EPS * float(jnp.abs(expected).max()))


@pytest.mark.parametrize(("name", "shape"), [("1d", (11,)), ("3d", (3, 4, 3))])
def test_tables_in_pieces_are_those_of_the_whole(name, shape, kernels):
    k, size = kernels[name], torus.torus_shape(shape)
    table = np.asarray(torus.lag_table(k, size, tuple(1 / n for n in shape), "ntk"))
    half = table[..., : size[-1] // 2 + 1]
    index = [np.arange(m) for m in size]
    lags = [np.where(i <= len(i) // 2, i, i - len(i)) / n for i, n in zip(index, shape, strict=True)]
    lags[-1] = lags[-1][: size[-1] // 2 + 1]
    np.testing.assert_allclose(torus.lag_slabs(k, tuple(lags), "ntk", 20), half, rtol=0, atol=1e-14)
    if len(shape) == 1:
        np.testing.assert_allclose(torus.axis_lags(k, lags[0], "ntk", 1), half, rtol=0, atol=1e-14)
    transform = torus._transform_of_half(jnp.asarray(half), size[-1], float, columns=4)
    np.testing.assert_allclose(transform, np.fft.rfftn(table).real, rtol=0, atol=1e-13 * table.sum())


def test_a_long_line_keeps_the_digits_at_its_cusp(kernels):
    k, n = kernels["1d"], 100_003
    table = np.asarray(ns.operator.lattice(k, (n,)).lags())
    lag = np.concatenate([np.arange(200), np.random.default_rng(0).integers(200, n, 200)])
    expected = np.asarray(k.ntk_lag((lag / n)[:, None]))
    np.testing.assert_allclose(table[lag], expected, rtol=0, atol=2e-15)
    np.testing.assert_allclose(table[-lag[1:]], expected[1:], rtol=0, atol=2e-15)
    np.testing.assert_allclose(table[0] - table[1:200], expected[0] - expected[1:200], rtol=1e-9)


def test_whole_is_its_own_sublattice():
    sub = whole((5, 1), periodic=False)
    assert (sub.full, sub.shape, sub.start, sub.stride) == ((5, 1), (5, 1), (0, 0), (1, 1))
    assert sub.torus[0] >= 9
    assert sub.torus[1] == 1


def test_refusal_comes_before_the_allocation_and_names_what_fits(kernels, lattices):
    with (
        limited(memory=1000),
        pytest.raises(ValueError, match=r"transforms of a lattice of \(300,\) points .* GiB available; take fewer"),
    ):
        ns.operator.lattice(kernels["1d"], (300,))
    with limited(memory=1000), pytest.raises(ValueError, match=r"dense Gram matrix of 13 points .* K @ v instead"):
        lattices["1d"].to_dense()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (5,)}, r"shape=\(5,\); expected 2 sizes of at least 1"),
        ({"shape": (5, 0)}, r"shape=\(5, 0\); expected 2 sizes of at least 1"),
        ({"shape": (5, 4, 3)}, r"expected 2 sizes"),
        ({"mask": np.ones((4, 5), dtype=bool)}, r"mask has shape \(4, 5\), type bool, .*; expected booleans \(5, 4\)"),
        ({"mask": np.ones((5, 4))}, r"type float64, and keeps 20; expected booleans"),
        ({"mask": np.zeros((5, 4), dtype=bool)}, "keeps 0; expected .*, one of them True"),
        ({"which": "kernel"}, "which='kernel'; expected 'ntk' or 'nngp'"),
    ],
)
def test_bad_lattices_are_refused_in_words(options, message, kernels):
    with pytest.raises(ValueError, match=message):
        ns.operator.lattice(kernels["2d"], **{"shape": (5, 4), **options})


def test_a_kernel_that_is_not_stationary_has_no_lattice():
    k = ns.kernel.compose(ns.mapping.identity(1), ns.kernel.MLP(depth=1))
    with pytest.raises(ValueError, match=r"needs a kernel of the lag alone.*operator\.dense"):
        ns.operator.lattice(k, (5,))


@pytest.mark.parametrize("shape", [(12,), (13, 1, 1), ()])
def test_a_right_hand_side_of_another_size_is_refused(shape, lattices):
    with pytest.raises(ValueError, match=r"expected \(13,\) or \(13, channels\)"):
        lattices["1d"] @ np.ones(shape)


def test_values_of_another_lattice_are_refused(lattices):
    with pytest.raises(ValueError, match=r"values have shape \(4, 5\); expected \(5, 4\) or \(5, 4, 'channels'\)"):
        lattices["2d"].restrict(np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"values have shape \(5, 4, 1, 1\)"):
        lattices["2d"].restrict(np.zeros((5, 4, 1, 1)))


def test_complex_vectors_and_broken_shapes_are_refused(lattices, kernels):
    with pytest.raises(TypeError, match="the right-hand side is complex"):
        lattices["1d"] @ (1j * np.ones(13))
    with pytest.raises(ValueError, match="whole numbers of points"):
        ns.operator.lattice(kernels["2d"], (4.5, 3))


def test_extents_of_the_axes_are_a_matter_of_units():
    extents, shape = np.array([2.0, 0.5]), (4, 3)
    mapping, network = ns.mapping.gaussian(2, 8, scale=1.5), ns.kernel.MLP(depth=1, b_std=0.1)
    K = ns.operator.lattice(ns.kernel.compose(mapping.through(np.diag(extents)), network), shape)
    expected = ns.kernel.compose(mapping, network).ntk(K.points * extents)
    np.testing.assert_allclose(K.to_dense(), expected, rtol=1e-13)
