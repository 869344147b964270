"""Tiles make the same matrix as one piece, whatever their size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkspec as ns
from ntkspec import limits
from ntkspec.kernel._gram import _tiles

EPS = np.finfo(np.float64).eps


@pytest.fixture(params=["features", "limit", "raw"])
def kernel(request):
    mapping = {
        "features": lambda: ns.mapping.gaussian(2, 8, scale=2.0),
        "limit": lambda: ns.mapping.gaussian_limit(2, scale=2.0),
        "raw": lambda: ns.mapping.identity(2),
    }[request.param]()
    return ns.kernel.compose(mapping, ns.kernel.MLP(depth=1, b_std=0.1))


@pytest.fixture
def small_tiles():
    with limits.limited(block=8, tiles_together=4):
        yield


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (8, 8), (17, 40), (0, 5)])
@pytest.mark.parametrize("symmetric", [False, True])
def test_tiles_cover_the_matrix(shape, symmetric, small_tiles):
    shape = (shape[0], shape[0]) if symmetric else shape
    sizes, corners = _tiles(shape, symmetric)
    covered = np.zeros(shape, dtype=bool)
    for i, j in corners:
        assert 0 <= i <= shape[0] - sizes[0]
        assert 0 <= j <= shape[1] - sizes[1]
        covered[i : i + sizes[0], j : j + sizes[1]] = True
        if symmetric:
            covered[j : j + sizes[1], i : i + sizes[0]] = True
    assert covered.all()


def test_tiles_make_the_matrix_of_one_piece(kernel, rng):
    x, z = rng.random((30, 2)), rng.random((19, 2))
    x[20], x[29], z[11] = x[3], x[3] + 1e-9, x[3]
    x[7], z[3] = 0.0, 0.0
    square, rectangle = kernel.ntk(x), kernel.ntk(x, z)
    with limits.limited(block=8, tiles_together=4):
        in_tiles, rectangle_in_tiles = np.asarray(kernel.ntk(x)), kernel.ntk(x, z)
    np.testing.assert_array_equal(in_tiles, in_tiles.T)
    np.testing.assert_allclose(in_tiles, square, rtol=8 * EPS)
    np.testing.assert_allclose(rectangle_in_tiles, rectangle, rtol=8 * EPS)


def test_no_points_make_an_empty_matrix(kernel):
    assert kernel.ntk(np.zeros((0, 2)), np.zeros((3, 2))).shape == (0, 3)


def test_progress_counts_every_tile_once(kernel, small_tiles, rng):
    counted = []

    class Stage:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def advance(self, n=1, **fields):
            counted.append(n)

    class Progress:
        def start(self, description, total=None, unit="it"):
            self.total = total
            return Stage()

    progress = Progress()
    ns.operator.dense(kernel, rng.random((30, 2)), progress=progress)
    # Four rows of tiles: ten on and above the diagonal, in calls of at most four.
    assert progress.total == 10
    assert counted == [4, 4, 2]


def test_gradient_through_tiles_is_the_finite_difference(small_tiles, rng):
    x, weights = rng.random((18, 2)), rng.standard_normal((18, 18))
    x[5] = x[4]

    @jax.jit
    def value(frequencies):
        mapping = ns.mapping.from_frequencies(frequencies, jnp.ones(3))
        return jnp.sum(weights * ns.kernel.compose(mapping, ns.kernel.MLP(depth=1)).ntk(x))

    at, direction = jnp.asarray(rng.standard_normal((3, 2))), rng.standard_normal((3, 2))
    h = 1e-5
    difference = (value(at + h * direction) - value(at - h * direction)) / (2 * h)
    assert float(jnp.sum(jax.grad(value)(at) * direction)) == pytest.approx(float(difference), rel=1e-6)
