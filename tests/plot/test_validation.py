import numpy as np
import pytest
import xarray as xr

from ntkspec import plot

STEP = np.array([0, 10, 100, 1000])
FREQUENCY = np.array([0.0, 1, 2, 4, 8, 16, 32])


@pytest.fixture
def data():
    seeds = np.array([[0.01, 0.02, 0.05, 0.2], [0.03, 0.04, 0.07, 0.4]])
    predicted = np.exp(-np.outer(STEP, 0.01 / (1 + FREQUENCY)))
    return xr.Dataset(
        {
            "error": ("step", seeds.mean(0)),
            "error_sem": ("step", np.full(4, 0.007)),
            "error_by_seed": (("seed", "step"), seeds),
            "ensemble_error": ("step", seeds.mean(0) / 2),
            "predicted_residual": (("step", "frequency"), predicted),
            "trained_residual": (("step", "frequency"), predicted + 0.1),
            "trained_residual_sem": (("step", "frequency"), np.full_like(predicted, 0.02)),
        },
        coords={"step": STEP, "frequency": ("frequency", FREQUENCY, {"units": "cycles/unit"})},
        attrs={"tolerance": 0.1, "holds_until_step": 100, "verdict": "It holds until step 100."},
    )


def by_label(ax):
    handles, labels = ax.get_legend_handles_labels()
    return dict(zip(labels, handles, strict=True))


def test_error_by_step(data):
    ax = plot.validation(data)
    drawn = by_label(ax)
    expected = "range of 2 seeds|mean ± standard error|mean of the ensemble|tolerance 0.1|holds until step 100"
    assert set(drawn) == set(expected.split("|"))
    # Step 0, where both start from the same function, has no place on a log axis.
    later = data.isel(step=slice(1, None))
    np.testing.assert_allclose(drawn["mean ± standard error"].lines[0].get_data(orig=False), [STEP[1:], later.error])
    np.testing.assert_allclose(drawn["mean of the ensemble"].get_data(), [STEP[1:], later.ensemble_error])
    assert drawn["tolerance 0.1"].get_ydata()[0] == 0.1
    assert drawn["holds until step 100"].get_xdata()[0] == 100
    bars = np.array(drawn["mean ± standard error"].lines[2][0].get_segments())
    np.testing.assert_allclose(np.diff(bars[:, :, 1]).ravel(), 0.014)
    band = drawn["range of 2 seeds"].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((0.02, 0.4))
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_ylim()[0] < 0.02
    assert ax.get_ylim()[1] > 0.4
    assert ax.get_title(loc="left") == "It holds until step 100."
    assert ax.get_ylabel() == "Error, relative to the signal"


def test_it_never_held(data):
    data.attrs["holds_until_step"] = -1
    assert not any("until" in label for label in by_label(plot.validation(data)))


def test_error_alone_is_enough(data):
    drawn = by_label(plot.validation(xr.Dataset({"error": data.error})))
    assert list(drawn) == ["error"]


def test_residual_by_frequency(data):
    ax = plot.validation(data, by="frequency", frequencies=[1, 9])
    for index, frequency in enumerate((1.0, 8.0)):
        expected = data.sel(frequency=frequency)
        line = ax.lines[2 * index]
        np.testing.assert_allclose(line.get_data(), [STEP, expected.predicted_residual])
        points = ax.containers[index]
        np.testing.assert_allclose(points.lines[0].get_data(orig=False), [STEP, expected.trained_residual])
        assert points.lines[0].get_linestyle() == "None"
        np.testing.assert_allclose(np.diff(np.array(points.lines[2][0].get_segments())[:, :, 1]).ravel(), 0.04)
        assert points.lines[0].get_color() == line.get_color()
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["1", "8", "predicted", "trained"]
    assert ax.get_legend().get_title().get_text() == "Frequency\n(cycles/unit)"


def test_default_frequencies_are_five_and_known(data):
    data["predicted_residual"][:, -1] = np.nan
    ax = plot.validation(data, by="frequency")
    labels = [float(text.get_text()) for text in ax.get_legend().get_texts()[:-2]]
    assert len(labels) == len(ax.containers) == 5
    assert (labels[0], labels[-1]) == (0, 16)


def test_refusals(data):
    with pytest.raises(ValueError, match="by='seed'"):
        plot.validation(data, by="seed")
    with pytest.raises(ValueError, match=r"without error .*ntkspec\.validate"):
        plot.validation(data.drop_vars("error"))
    with pytest.raises(ValueError, match="without trained_residual "):
        plot.validation(data.drop_vars("trained_residual"), by="frequency")


def test_intervals_over_seeds_are_the_bars_where_there_are_any(data):
    data["error_interval"] = (("bound", "step"), np.stack([0.5 * data.error, 2 * data.error]))
    data["error_interval"][1, -1] = np.nan
    data = data.assign_coords(bound=["low", "high"])
    drawn = by_label(plot.validation(data))["mean, 95 % interval"]
    segments = np.array(drawn.lines[2][0].get_segments())[:, :, 1]
    np.testing.assert_allclose(segments[:-1], np.stack([0.5 * data.error[1:-1], 2 * data.error[1:-1]], axis=1))
    # What is not known has no bar.
    np.testing.assert_allclose(segments[-1], [0.5 * data.error[-1], data.error[-1]])


@pytest.fixture
def ensemble(data):
    """Of networks whose spread is 5/4 of the predicted one, which the last step does not tell."""
    ends = xr.DataArray([[0.8], [2.0]], dims=("bound", "step")) * [[1.0, 1, 1, np.nan]]
    common = np.stack([0 * data.error, 0.6 * data.error])
    return data.assign(
        spread=0.5 * data.error,
        predicted_spread=0.4 * data.error,
        spread_ratio_interval=(("bound", "step"), ends.values),
        systematic_error_interval=(("bound", "step"), common),
    ).assign_coords(bound=["low", "high"])


def test_spreads_are_drawn_where_they_are_predicted(data, ensemble):
    ax = plot.validation(ensemble)
    drawn = by_label(ax)
    expected = "predicted spread|spread, 95 % interval|error of the mean|of it common to all,\n95 % interval"
    assert set(drawn) == {*expected.split("|"), "tolerance 0.1", "holds until step 100"}
    # Step 0, where they scatter most, is shown.
    np.testing.assert_allclose(drawn["predicted spread"].get_data(), [STEP, 0.4 * data.error])
    spread = drawn["spread, 95 % interval"]
    np.testing.assert_allclose(spread.lines[0].get_data(orig=False), [STEP, 0.5 * data.error])
    segments = np.array(spread.lines[2][0].get_segments())[:, :, 1]
    np.testing.assert_allclose(segments[:-1], np.stack([0.32 * data.error, 0.8 * data.error], axis=1)[:-1])
    np.testing.assert_allclose(segments[-1], 0.5 * data.error[-1])
    np.testing.assert_allclose(drawn["error of the mean"].get_data(), [STEP, data.ensemble_error])
    band = drawn["of it common to all,\n95 % interval"].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((0, 0.6 * 0.3))
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "Relative to the signal")
    with pytest.raises(ValueError, match=r"without spread_ratio_interval .*ntkspec\.validate"):
        plot.validation(ensemble.drop_vars("spread_ratio_interval"))
