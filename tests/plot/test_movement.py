import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from ntkspec import plot

STEP = np.array([0, 10, 100])
FREQUENCY = np.array([0.0, 1, 2, 4])


@pytest.fixture
def data():
    drift = np.array([[0.0, 0.1, 0.3], [0.0, 0.3, 0.5]])
    quotient = (1 + drift)[..., None] / (1 + FREQUENCY)
    names = ("kernel_rotation", "kernel_error", "kernel_alignment", "centered_kernel_alignment")
    return xr.Dataset(
        {
            "kernel_drift": (("seed", "step"), drift),
            **{name: (("seed", "step"), drift / (2 + i)) for i, name in enumerate(names)},
            "kernel_rayleigh_quotient": (("seed", "step", "kernel_frequency"), quotient),
        },
        coords={
            "step": STEP,
            "kernel_frequency": ("kernel_frequency", FREQUENCY, {"units": "cycles per unit"}),
            "infinite_rayleigh_quotient": ("kernel_frequency", 0.9 / (1 + FREQUENCY)),
        },
        attrs={"kernel_points": 16, "kernel_points_of": 64},
    )


@pytest.mark.parametrize(
    ("show", "names"),
    [
        ("change", ["kernel_drift", "kernel_rotation", "kernel_error"]),
        ("alignment", ["kernel_alignment", "centered_kernel_alignment"]),
    ],
)
def test_curves_are_means_and_bands_ranges_of_the_seeds(show, names, data):
    ax = plot.movement(data, show=show)
    assert len(ax.lines) == len(names)
    for line, band, name in zip(ax.lines, ax.collections, names, strict=True):
        np.testing.assert_allclose(line.get_xdata(), STEP)
        np.testing.assert_allclose(line.get_ydata(), data[name].mean("seed"))
        edges = band.get_paths()[0].get_extents()
        assert (edges.y0, edges.y1) == pytest.approx((0, float(data[name].max())))
    assert ax.get_xlabel() == "Training step"
    assert ("Alignment" in ax.get_ylabel()) == (show == "alignment")
    assert ax.get_title(loc="left") == "Kernels at 16 of 64 points."


def test_rates_by_frequency_are_relative_to_the_first_step(data):
    ax = plot.movement(data, show="frequency")
    *lines, infinite = ax.lines
    assert [line.get_label() for line in lines] == ["0", "10", "100"]
    for line, expected in zip(lines, (1.0, 1.2, 1.4), strict=True):
        np.testing.assert_allclose(line.get_xdata(), FREQUENCY)
        np.testing.assert_allclose(line.get_ydata(), expected)
    np.testing.assert_allclose(infinite.get_ydata(), 0.9)
    assert infinite.get_label() == "infinite width"
    assert ax.get_xlabel() == "Frequency (cycles per unit)"
    assert [line.get_label() for line in plot.movement(data, show="frequency", steps=[90]).lines] == [
        "100",
        "infinite width",
    ]


def test_given_axes_are_used_and_all_points_are_no_news(data):
    mine = Figure().add_subplot()
    data.attrs["kernel_points"] = 64
    assert plot.movement(data, ax=mine) is mine
    assert mine.get_title(loc="left") == ""


def test_refusals(data):
    with pytest.raises(ValueError, match=r"show='drift', expected 'change', 'alignment' or 'frequency'"):
        plot.movement(data, show="drift")
    with pytest.raises(ValueError, match=r"without kernel_drift.*ntkspec\.empirical\.movement"):
        plot.movement(data.drop_vars("kernel_drift"))
    with pytest.raises(ValueError, match=r"without kernel_rayleigh_quotient"):
        plot.movement(data.drop_vars("kernel_rayleigh_quotient"), show="frequency")
    with pytest.raises(TypeError, match=r"expected a Dataset from `ntkspec\.empirical\.movement`"):
        plot.movement([data])
