import matplotlib
import numpy as np
import pytest
import xarray as xr

from ntkspec import plot

STEP = np.array([0, 1, 10, 100, 1000])
FREQUENCY = np.arange(33.0)


@pytest.fixture
def data():
    target = 1 / (1 + FREQUENCY) ** 2
    target[4] = 0.0
    relative = np.exp(-np.outer(STEP, 0.1 / (1 + FREQUENCY)))
    return xr.Dataset(
        {
            "residual_energy": (("step", "frequency"), target * relative**2),
            "target_energy": ("frequency", target),
        },
        coords={"step": STEP, "frequency": ("frequency", FREQUENCY, {"units": "cycles/unit"})},
    )


def test_curves_are_relative_amplitudes(data):
    ax = plot.convergence(data, frequencies=[2.2, 9])
    assert [line.get_label() for line in ax.lines] == ["2", "9"]
    for line, frequency in zip(ax.lines, (2, 9), strict=True):
        np.testing.assert_allclose(line.get_xdata(), STEP)
        np.testing.assert_allclose(line.get_ydata(), np.exp(-0.1 * STEP / (1 + frequency)))
    assert (ax.get_xscale(), ax.get_yscale()) == ("symlog", "log")
    assert ax.get_xlim()[0] < 0
    assert ax.get_xlim()[1] > 1000
    assert ax.get_xlabel() == "Training step"
    assert ax.get_legend().get_title().get_text() == "Frequency\n(cycles/unit)"


def test_default_frequencies_are_few_spread_and_held_by_the_target(data):
    shown = [float(line.get_label()) for line in plot.convergence(data).lines]
    assert 5 <= len(shown) <= 7
    assert (shown[0], shown[-1]) == (0, 32)
    assert 4.0 not in shown
    assert shown == sorted(shown)
    weak = data.copy()
    weak["target_energy"] = data["target_energy"].where(data["frequency"] < 8, 1e-9)
    assert [float(line.get_label()) for line in plot.convergence(weak).lines][-1] == 7


def test_zero_residual_does_not_stretch_the_axis(data):
    data["residual_energy"][-1] = 0.0
    assert plot.convergence(data).get_ylim()[0] > 1e-7


def test_image_has_every_frequency_of_the_target(data):
    ax = plot.convergence(data, as_image=True)
    shown = ax.collections[0].get_array()
    assert shown.shape == (len(FREQUENCY) - 1, len(STEP))
    np.testing.assert_allclose(shown[2], np.exp(-0.1 * STEP / 3))
    assert ax.get_ylabel() == "Frequency (cycles/unit)"
    assert ax.figure.axes[1].get_ylabel().startswith("Residual amplitude")
    assert ax.collections[0].get_cmap() == matplotlib.colormaps["cividis"]


def test_refusals(data):
    with pytest.raises(ValueError, match=r"without target_energy .*ntkspec\.eigen\.convergence"):
        plot.convergence(data.drop_vars("target_energy"))
    with pytest.raises(ValueError, match="without energy"):
        plot.convergence(data * 0)
