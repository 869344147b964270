"""Operators of every kind on a few dozen points."""

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.limits import limited


@pytest.fixture(scope="session")
def operators(kernels, lattices, masked):
    rng = np.random.default_rng(7)
    points = rng.random((40, 1))
    return {
        "lattice odd": lattices["1d"],
        "lattice even": lattices["2d"],
        "circulant": lattices["2d periodic"],
        "masked": masked["3d"][0],
        "dense": ns.operator.dense(kernels["1d"], points[:20]),
        "low rank": ns.operator.low_rank(kernels["1d"], points, tol=1e-6),
        "scattered": ns.operator.scattered(kernels["1d"], points[:20]),
        "measured": ns.operator.measured(lattices["1d"], rng.standard_normal((8, 13)) / 4),
    }


@pytest.fixture
def products_only():
    """Small operators treated as if they were too large for a matrix."""
    with limited(exact_points=0):
        yield
