import numpy as np
import pytest

import ntkspec as ns
from ntkspec.selection._samples import Samples, from_operator


def samples(points):
    return Samples(np.asarray(points, dtype=float), np.zeros((len(points), 1)), None, None)


def test_a_constant_coordinate_tells_nothing_of_frequencies(rng):
    x = np.arange(32)[:, None] / 32
    flat = np.concatenate([x, np.full((32, 1), 0.4)], axis=1)
    assert samples(flat).highest_frequency == samples(x).highest_frequency == pytest.approx(16)
    square = rng.random((100, 2))
    deep = np.insert(square, 1, 0.7, axis=1)
    assert samples(deep).highest_frequency == samples(square).highest_frequency


def test_points_that_are_all_one_are_refused():
    with pytest.raises(ValueError, match="all 9 training points are one; expected points that differ"):
        assert samples(np.full((9, 2), 0.5)).highest_frequency


def test_a_design_on_a_line_in_the_plane_has_finite_scales(rng):
    points = np.stack([rng.random(40), np.full(40, 0.5)], axis=1)
    y = np.sin(2 * np.pi * 3 * points[:, 0])
    k = ns.kernel.compose(ns.mapping.gaussian(2, 16, scale=2.0), ns.kernel.MLP(depth=1))
    K = ns.operator.dense(k, points)
    assert np.isfinite(from_operator(K, y).highest_frequency)
    found = ns.design(K, y, num_frequencies=16)
    assert np.isfinite(found.scale).all()
    assert 0.1 < found.attrs["scale"] < 40


def test_a_box_of_points_on_a_line_is_its_middle(rng):
    line = np.stack([rng.random(64), np.full(64, 0.5)], axis=1)
    box = samples(line).boxes(16)
    assert len(box.points) == 16
    middle = (line[:, 0].max() + line[:, 0].min()) / 2
    nearest = np.sort(np.abs(line[:, 0] - middle))[:16]
    np.testing.assert_allclose(np.sort(np.abs(box.points[:, 0] - middle)), nearest)
    assert 0 < box.inner.sum() < 16
