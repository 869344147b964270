import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import ntkspec as ns


@pytest.fixture(scope="module")
def K():
    k = ns.kernel.compose(ns.mapping.power_law(8, p=1.0), ns.kernel.MLP(depth=1, b_std=0.1))
    return ns.operator.lattice(k, (32,), np.arange(32) % 4 == 0)


@pytest.fixture(scope="module")
def whole(K):
    return ns.operator.lattice(K.kernel, (32,))


@pytest.fixture(scope="module")
def target():
    return np.sign(np.arange(32) - 15.5)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_a_learning_curve_shows_bands_and_measured_points(whole, target):
    asked = {"num_points": [4, 8, 16], "ridge": 0.1}
    closed = ns.generalisation.learning_curve(whole, target, **asked)
    sampled = ns.generalisation.learning_curve(whole, target, method=ns.generalisation.Draws(3), **asked)
    ax = ns.plot.learning_curve({"closed": closed, "sampled": sampled}, measured=sampled)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), closed.test_error)
    assert len(ax.collections) >= 2  # the band, and the error bars
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["closed", "sampled", "measured"]
    assert ax.get_xlabel() == "Training points"
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_risk_has_a_curve_for_each_n_and_marks_where_to_stop(whole, K, target):
    found = ns.generalisation.risk(
        whole, target, num_points=[4, 16], steps=[0, 10, 1000], learning_rate=0.02, noise=0.5
    )
    ax = ns.plot.risk(found)
    assert len(ax.lines) == 4
    assert ax.lines[1].get_xdata()[0] == found.step[int(found.test_error[0].argmin("step"))]
    assert ax.get_legend().get_title().get_text() == "Training\npoints"
    one = ns.generalisation.risk(K, target, method="grid", steps=[0, 10, 1000], learning_rate=0.02)
    assert len(ns.plot.risk(one).lines) == 2


def test_ghosts_lie_off_the_line_and_grow_with_amplitude(K, target):
    found = ns.generalisation.aliasing(K, target, steps=[10, 1000], learning_rate=0.02)
    ax = ns.plot.aliasing(found, step=11)
    places = np.asarray(ax.collections[0].get_offsets())
    np.testing.assert_allclose(places[:, 1], np.abs(found.ghost_frequency[:, 0]))
    assert ax.collections[0].get_sizes().argmax() == np.abs(found.amplitude.values[0]).argmax()
    assert "step 10" in ax.get_title(loc="left")
    assert ax.get_xlabel() == "True frequency (cycles per unit)"


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="got nothing"):
        ns.plot.learning_curve({})
    with pytest.raises(ValueError, match="without test_error"):
        ns.plot.learning_curve(xr.Dataset())
    with pytest.raises(ValueError, match="without test_error"):
        ns.plot.risk(xr.Dataset())
    with pytest.raises(TypeError, match="expected a Dataset"):
        ns.plot.aliasing([1, 2])
