import numpy as np
import pytest
import xarray as xr

import ntkspec as ns


def predicted(dim, channels=2, held_out=True):
    rng = np.random.default_rng(0)
    found, truth, x = rng.random((2, 9, channels)), rng.random((9, channels)), rng.random((9, dim))
    learned, where, target = ("unseen", "unseen_x", "unseen_target") if held_out else ("train", "x", "target")
    rows = "asked" if held_out else "point"
    return xr.Dataset(
        {learned: (("step", rows, "channel"), found), target: ((rows, "channel"), truth)},
        coords={
            "step": [0, 10],
            where: ((rows, "axis"), x),
            "axis": ["x", "y", "z"][:dim],
            "channel": ["p", "u"][:channels],
        },
    )


@pytest.mark.parametrize("held_out", [True, False])
def test_maps_show_truth_prediction_and_error(held_out):
    data = predicted(3, held_out=held_out)
    axes = ns.plot.points(data, step=9, channel=1)
    learned, truth = (data[name].values for name in (("unseen", "unseen_target") if held_out else ("train", "target")))
    for ax, colours in zip(axes, (truth[:, 1], learned[1, :, 1], learned[1, :, 1] - truth[:, 1]), strict=True):
        np.testing.assert_array_equal(ax.collections[0].get_array(), colours)
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (unit)", "y (unit)")
    assert axes[0].collections[0].get_clim() == axes[1].collections[0].get_clim()
    assert axes[2].collections[0].get_clim()[0] == -axes[2].collections[0].get_clim()[1]


def test_one_coordinate_is_a_curve():
    data = predicted(1)
    (ax,) = ns.plot.points(data)
    order = np.argsort(data.unseen_x.values[:, 0])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), data.unseen_target.values[order, 0])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), data.unseen.values[1, order, 0])
    assert ax.get_ylabel() == "p"


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match=r"`plot\.points` got"):
        ns.plot.points(xr.Dataset(coords={"step": [0]}))
