import numpy as np
import pytest

import ntkspec as ns
from ntkspec.limits import limited
from ntkspec.operator import _choose
from ntkspec.operator._scattered._search import Search

IDENTITY = ns.kernel.compose(ns.mapping.identity(2), ns.kernel.MLP(depth=1, b_std=0.3))


def test_a_lattice_takes_ffts(kernels, masked):
    choice = ns.operator.choose(kernels["2d"], (512, 512))
    assert (choice.form, choice.num_points) == ("lattice", 512**2)
    K, mask = masked["2d"]
    built = ns.operator.choose(kernels["2d"], mask.shape, mask=mask).build()
    assert isinstance(built, ns.operator.Lattice)
    np.testing.assert_array_equal(built.points, K.points)


def test_whole_frequencies_make_it_circulant(kernels):
    choice = ns.operator.choose(kernels["2d periodic"], (6, 5))
    assert choice.form == "circulant lattice"
    assert choice.build().circulant
    mask = np.ones((6, 5), dtype=bool)
    mask[1, 2] = False
    assert ns.operator.choose(kernels["2d periodic"], (6, 5), mask=mask).form == "lattice"


def test_points_of_a_lattice_in_order_are_recognised(kernels, masked):
    K, _ = masked["2d"]
    choice = ns.operator.choose(kernels["2d"], K.points)
    assert choice.form == "lattice"
    np.testing.assert_allclose(choice.build().points, K.points, atol=1e-15)
    # In another order the labels would no longer belong to their points.
    assert ns.operator.choose(kernels["2d"], K.points[::-1]).form == "dense"


def test_few_scattered_points_are_a_matrix_and_many_are_not(kernels, rng):
    x = rng.random((40, 2))
    choice = ns.operator.choose(kernels["2d"], x)
    assert choice.form == "dense"
    np.testing.assert_array_equal(choice.build().to_dense(), ns.operator.dense(kernels["2d"], x).to_dense())
    many = rng.random((20000, 2))
    with limited(memory=2**28):
        choice, fast = (ns.operator.choose(kernels["2d"], many, tol=tol) for tol in (None, 1e-3))
    assert choice.form == "scattered"
    assert "do not fit in memory" in str(choice)
    assert "needs a tol" in choice.reason
    assert fast.form == "fast scattered"


def test_a_tolerance_that_a_cusp_puts_out_of_reach_is_not_promised(kernels, rng):
    with limited(memory=2**28):
        choice = ns.operator.choose(kernels["2d"], rng.random((20000, 2)), tol=1e-9)
    assert choice.form == "scattered"
    fast = next(other for other in choice.others if other.name == "fast scattered")
    assert not fast.possible
    assert "frequencies an axis (a cusp needs many), more than can be searched" in fast.why


@pytest.mark.slow
def test_the_length_of_a_series_is_predicted(kernels, rng):
    x = rng.random((2000, 1))
    for tol in (1e-3, 1e-4):
        built = ns.operator.scattered(kernels["1d"], x, tol)
        predicted = Search(kernels["1d"], x, tol, "ntk").foretell()
        assert 0.5 < predicted / (built.coefficients.shape[0] // 2) < 2


def test_scattered_forms_are_built_with_the_tolerance(kernels, rng, monkeypatch):
    asked = []

    def scattered(k, x, tol=None, *, which):
        asked.append((len(x), tol, which))

    monkeypatch.setattr(_choose, "scattered", scattered)
    with limited(memory=2**28):
        for tol in (None, 1e-3):
            ns.operator.choose(kernels["2d"], rng.random((20000, 2)), tol=tol, which="nngp").build()
    assert asked == [(20000, None, "nngp"), (20000, 1e-3, "nngp")]


def test_no_mapping_is_a_matrix_or_low_rank(rng):
    choice = ns.operator.choose(IDENTITY, (6, 5))
    assert choice.form == "dense"
    assert choice.build().shape == (30, 30)
    # Raw coordinates may lie anywhere.
    x = rng.random((20000, 2)) * 4 - 2
    with limited(memory=2**30):
        assert ns.operator.choose(IDENTITY, x).form == "scattered"
        choice = ns.operator.choose(IDENTITY, x, tol=0.1)
    assert choice.form == "low rank"
    assert choice.num_bytes == 8 * 3 * 20000 * 1000


def test_it_reads_as_text_and_its_costs_grow(kernels):
    small, large = (ns.operator.choose(kernels["2d"], (n, n)) for n in (256, 512))
    assert 3 < large.num_bytes / small.num_bytes < 5
    text = str(large)
    assert text.startswith("lattice operator on 262,144 points: the kernel is stationary")
    assert "predicted: " in text
    assert {other.name for other in large.others} == {"dense", "scattered", "fast scattered", "low rank"}


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        ((5,), {}, r"points=\(5,\); expected 2 sizes of at least 1"),
        ((5, 0), {}, "expected 2 sizes of at least 1"),
        (np.ones((3, 3)) / 2, {}, r"expected \(n, 2\)"),
        (np.zeros((0, 2)), {}, "at least one row"),
        ([[0.5, np.nan]], {}, "points hold NaN or infinity"),
        ([[0.5, 1.0]], {}, r"points reach from 0\.5 to 1; expected coordinates in \[0, 1\)\^d\. Rescale"),
        ([[0.5, 0.5]], {"mask": np.ones((1, 1), dtype=bool)}, "a mask goes with a lattice shape"),
        ((5, 4), {"mask": np.ones((4, 5), dtype=bool)}, r"shape \(4, 5\), type bool, .*; expected booleans \(5, 4\)"),
        ((5, 4), {"tol": 0.0}, r"tol=0\.0; expected between 0 and 1"),
        ((5, 4), {"which": "both"}, "which='both'"),
    ],
)
def test_bad_input_is_refused_in_words(points, options, message, kernels):
    with pytest.raises(ValueError, match=message):
        ns.operator.choose(kernels["2d"], points, **options)


def test_periodic_images_are_explained(kernels):
    with pytest.raises(ValueError, match=r"This kernel has period 1.*\(x mod 1\)"):
        ns.operator.choose(kernels["2d periodic"], [[1.5, 0.5]])


def test_what_fits_nowhere_is_refused_with_all_sizes(kernels):
    with (
        limited(memory=2**20),
        pytest.raises(
            ValueError, match=r"no form of an operator on 1,000,000 points fits in 1 MiB .*lattice: .*dense: "
        ),
    ):
        ns.operator.choose(kernels["2d"], (1000, 1000))


@pytest.mark.parametrize("form", ["choose", "dense", "low_rank", "scattered", "lattice"])
def test_a_network_alone_says_what_to_compose(form):
    make = {
        "low_rank": lambda k, x: ns.operator.low_rank(k, x, 0.1),
        "lattice": lambda k, _: ns.operator.lattice(k, (4,)),
    }
    with pytest.raises(TypeError, match=r"is a MLP; .* ns.kernel.compose\(ns.mapping.identity\(d\), network\)"):
        make.get(form, getattr(ns.operator, form))(ns.kernel.MLP(depth=2), np.zeros((3, 1)))
