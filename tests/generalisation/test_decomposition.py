import numpy as np
import pytest

import ntkspec as ns
from ntkspec.limits import limited
from ntkspec.operator._blocks import blocks_of

KINDS = ["lattice odd", "lattice even", "circulant", "masked", "dense", "low rank", "measured"]


@pytest.mark.parametrize("kind", KINDS)
def test_functions_diagonals_and_traces_are_those_of_the_matrix(operators, kind):
    K = operators[kind]
    d, n = ns.generalisation.decompose(K), K.num_points
    value, vector = np.linalg.eigh(K.to_dense())
    value, y = np.maximum(value, 0), np.random.default_rng(2).standard_normal((n, 2))

    def functions(x):
        return np.stack([np.exp(-x), 1 / (x + 1 + 0.5j)], axis=1)

    for f, function in enumerate(functions(value).T):
        matrix = (vector * function) @ vector.T
        tolerance = {"rtol": 0, "atol": 1e-12 * n}
        np.testing.assert_allclose(d.apply(functions(d.eigenvalue), y)[f], matrix @ y, **tolerance)
        diagonal = np.broadcast_to(d.diagonal(functions(d.eigenvalue))[f], n)
        np.testing.assert_allclose(diagonal, np.diag(matrix), **tolerance)
        np.testing.assert_allclose(d.trace(functions(d.eigenvalue))[f], np.trace(matrix), **tolerance)
    power = d.power(y)
    np.testing.assert_allclose(power.sum(axis=0), np.sum(y**2, axis=0), rtol=1e-12)
    expected = np.einsum("ic,ij,jc->c", y, np.asarray(K.to_dense()), y)
    np.testing.assert_allclose(d.eigenvalue @ power, expected, rtol=1e-11)
    assert d.weight.sum() == n


@pytest.mark.parametrize(("kind", "count"), [("lattice odd", 2), ("lattice even", 2), ("masked", 1), ("dense", 1)])
def test_a_matrix_that_is_its_mirror_image_comes_in_two_blocks(operators, kind, count):
    blocks = blocks_of(operators[kind])
    assert len(blocks.matrices) == count
    columns = np.random.default_rng(0).standard_normal((blocks.num_points, 3))
    parts = blocks.split(columns)
    np.testing.assert_allclose(blocks.join(parts), columns, atol=1e-15)
    product = blocks.join(tuple(matrix @ part for matrix, part in zip(blocks.matrices, parts, strict=True)))
    np.testing.assert_allclose(product, operators[kind] @ columns, atol=1e-12)


def test_what_is_too_large_or_no_operator_is_refused(operators):
    with limited(exact_points=8), pytest.raises(ValueError, match="asked by products only"):
        ns.generalisation.decompose(operators["dense"])
    assert ns.generalisation.decompose(operators["circulant"]).num_points > 8
    with pytest.raises(TypeError, match="expected an operator"):
        ns.generalisation.decompose(np.eye(3))
