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
            "channel": ["p", "u"][:channels] if channels < 3 else [f"q{i}" for i in range(channels)],
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
    (ax, other) = ns.plot.points(data)
    order = np.argsort(data.unseen_x.values[:, 0])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), data.unseen_target.values[order, 0])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), data.unseen.values[1, order, 0])
    assert (ax.get_ylabel(), other.get_ylabel()) == ("p", "u")


def test_several_outputs_are_all_shown_or_the_best_and_the_worst():
    few, many = predicted(2), predicted(2, channels=5)
    assert [ax.collections[0].colorbar.ax.get_ylabel() for ax in ns.plot.points(few)[::3]] == ["p", "u"]
    many["unseen"][-1, :, 3] = many.unseen_target[:, 3]
    many["unseen"][-1, :, 1] = many.unseen_target[:, 1] + 9
    axes = ns.plot.points(many)
    names = [ax.collections[0].colorbar.ax.get_ylabel() for ax in axes[::3]]
    assert names == ["q3 (best of 5)", "q1 (worst of 5)"]
    np.testing.assert_array_equal(axes[4].collections[0].get_array(), many.unseen[-1, :, 1])


def test_training_is_beside_its_prediction():
    data = predicted(2, channels=1)
    data["trained"] = data.unseen + 1
    axes = ns.plot.points(data)
    assert [ax.get_title(loc="left") for ax in axes] == ["Truth", "Step 10", "Trained, step 10", "Error"]
    np.testing.assert_array_equal(axes[2].collections[0].get_array(), data.trained[-1, :, 0])
    np.testing.assert_array_equal(axes[3].collections[0].get_array(), (data.unseen[-1] - data.unseen_target)[:, 0])


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match=r"`plot\.points` got"):
        ns.plot.points(xr.Dataset(coords={"step": [0]}))
