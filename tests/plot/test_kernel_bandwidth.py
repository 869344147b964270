from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex

from ntkspec import plot


def gaussian(width, dim=2, stationary=True):
    square = lambda delta: np.sum((delta / width) ** 2, axis=-1)
    return SimpleNamespace(
        dim=dim,
        stationary=stationary,
        ntk_lag=lambda delta: 5.0 * np.exp(-square(delta)),
        nngp_lag=lambda delta: 2.0 * np.exp(-square(delta) / 2),
    )


def test_kernel_is_relative_to_lag_zero():
    ax = plot.kernel(gaussian(0.1), num_points=101)
    lag, values = ax.lines[0].get_data()
    assert lag[[0, 50, -1]].tolist() == [-0.5, 0.0, 0.5]
    np.testing.assert_allclose(values, np.exp(-((lag / 0.1) ** 2)))
    assert ax.get_xlabel() == "Lag along axis 0 (unit)"
    assert ax.get_ylabel() == "NTK, relative to lag 0"


def test_both_kernels_and_several_labels():
    ax = plot.kernel({"narrow": gaussian(0.05), "wide": gaussian(0.3)}, which="both")
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["narrow, NTK", "narrow, NNGP", "wide, NTK", "wide, NNGP"]
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--", "-", "--"]
    assert len({to_hex(line.get_color()) for line in ax.lines}) == 2
    lag, values = ax.lines[3].get_data()
    np.testing.assert_allclose(values, np.exp(-((lag / 0.3) ** 2) / 2))


def test_kernel_refusals():
    with pytest.raises(ValueError, match=r"not stationary \(raw\).*ntkspec\.mapping\.gaussian"):
        plot.kernel({"raw": gaussian(0.1, stationary=False)})
    with pytest.raises(ValueError, match="which='gp'"):
        plot.kernel(gaussian(0.1), which="gp")
    with pytest.raises(ValueError, match="got nothing"):
        plot.kernel({})


def measures(rank, **extra):
    attrs = {"long_name": "effective rank", "units": "modes"}
    return xr.Dataset({"effective_rank": ((), rank, attrs), "condition_number": np.inf, **extra})


def test_bandwidth_against_scale_from_one_dataset():
    data = xr.Dataset(
        {"effective_rank": ("scale", [3.0, 30.0, 300.0], {"units": "modes"})},
        coords={"scale": [1.0, 4.0, 64.0]},
    )
    ax = plot.bandwidth(data)
    np.testing.assert_allclose(ax.lines[0].get_data(), [[1, 4, 64], [3, 30, 300]])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == "Scale of the mapping (cycles/unit)"
    assert ax.get_ylabel() == "Effective rank (modes)"


def test_numeric_labels_are_scales_in_order():
    ax = plot.bandwidth({8: measures(20.0), 2: measures(5.0)})
    np.testing.assert_allclose(ax.lines[0].get_data(), [[2, 8], [5, 20]])
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "linear")
    assert ax.get_ylabel() == "Effective rank (modes)"


def test_curves_by_label():
    curve = lambda factor: xr.Dataset({"effective_rank": ("scale", [factor, 2 * factor])}, coords={"scale": [1.0, 2.0]})
    ax = plot.bandwidth({"relu": curve(1.0), "tanh": curve(3.0)})
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["relu", "tanh"]
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [3, 6])


def test_text_labels_are_bars_with_their_values():
    ax = plot.bandwidth({"gaussian": measures(30.0), "identity": measures(4.25)})
    assert [bar.get_width() for bar in ax.patches] == [30.0, 4.25]
    assert [text.get_text() for text in ax.texts] == ["30", "4.25"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["gaussian", "identity"]
    assert ax.get_xlabel() == "Effective rank (modes)"


def test_another_measure_may_be_infinite():
    ax = plot.bandwidth({"a": measures(1.0), "b": measures(1.0, condition_number=4.0)}, measure="condition_number")
    assert [text.get_text() for text in ax.texts] == ["inf", "4"]
    assert ax.get_xlabel() == "Condition number"


def test_bandwidth_refusals():
    with pytest.raises(ValueError, match="expected one of: effective_rank, condition_number"):
        plot.bandwidth(measures(1.0), measure="width")
    with pytest.raises(ValueError, match="got nothing"):
        plot.bandwidth({})
    with pytest.raises(TypeError, match="got a int"):
        plot.bandwidth({"a": 3})
