import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from ntkspec import plot

STEP = np.array([0, 1, 10, 100, 1000, 10000])


def one_dimensional(everywhere=True, channel=False):
    x = np.array([0.5, 0.0, 0.25, 0.75])
    grid = np.arange(16) / 16
    learned = 1 - np.exp(-STEP / 100.0)
    signal = lambda position: np.sin(2 * np.pi * position)
    data = xr.Dataset(
        {
            "train": (("step", "point"), learned[:, None] * signal(x)),
            "target": ("point", signal(x), {"long_name": "height", "units": "mm"}),
            "loss": ("step", (1 - learned) ** 2),
        },
        coords={"step": STEP, "x": (("point", "axis"), x[:, None], {"units": "unit"})},
    )
    if everywhere:
        data["field"] = (("step", "axis0"), learned[:, None] * signal(grid))
        data = data.assign_coords(axis0=grid)
    if channel:
        both = xr.DataArray([1.0, 2.0], dims="channel")
        data = data.assign({name: data[name] * both for name in ("train", "target", "field")})
    return data


def two_dimensional(*trailing, axes=2):
    names = [f"axis{i}" for i in range(axes)]
    shape = (len(STEP), 3, 4, 6)[: axes + 1]
    field = np.linspace(-0.5, 1.5, int(np.prod(shape + trailing))).reshape(shape + trailing)
    dims = ("step", *names, *(["channel"] if trailing else []))
    return xr.Dataset({"field": (dims, field), "loss": ("step", 1.0 / (1 + STEP))}, coords={"step": STEP})


def test_function_draws_the_field_and_the_target():
    data = one_dimensional()
    ax = plot.prediction(data, steps=[1, 95])
    early, late, target = ax.lines
    np.testing.assert_allclose(early.get_data(), [data.axis0, data.field.sel(step=1)])
    np.testing.assert_allclose(late.get_data(), [data.axis0, data.field.sel(step=100)])
    np.testing.assert_allclose(target.get_data(), [data.x[:, 0], data.target])
    assert [line.get_label() for line in ax.lines] == ["1", "100", "target"]
    assert ax.get_ylabel() == "Height (mm)"
    assert ax.get_xlabel() == "Position (unit)"


def test_function_without_a_field_joins_the_points_in_order():
    data = one_dimensional(everywhere=False)
    line = plot.prediction(data).lines[-2]
    assert line.get_xdata().tolist() == [0.0, 0.25, 0.5, 0.75]
    np.testing.assert_allclose(line.get_ydata(), data.train.isel(step=-1, point=[1, 2, 0, 3]))


def test_function_of_the_asked_channel():
    data = one_dimensional(channel=True)
    low, high = (plot.prediction(data, channel=channel).lines for channel in (0, 1))
    assert np.ptp(low[-1].get_ydata()) > 0
    for a, b in zip(low, high, strict=True):
        np.testing.assert_allclose(b.get_ydata(), 2 * a.get_ydata())


def test_default_steps_are_at_most_five():
    curves = plot.prediction(one_dimensional()).lines[:-1]
    assert len(curves) == 5
    assert (curves[0].get_label(), curves[-1].get_label()) == ("0", "10,000")


@pytest.mark.parametrize(("trailing", "shape"), [((), (3, 4)), ((1,), (3, 4)), ((3,), (3, 4, 3))])
def test_image_is_the_clipped_field_at_the_step(trailing, shape):
    data = two_dimensional(*trailing)
    for ax, index in ((plot.prediction(data), -1), (plot.prediction(data, step=9), 2)):
        shown = ax.images[0].get_array()
        assert shown.shape == shape
        expected = np.clip(data.field.values[index], 0, 1).reshape(shape)
        np.testing.assert_allclose(shown, expected)
    assert ax.get_title(loc="left") == "Step 10"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Axis 1 (unit)", "Axis 0 (unit)")
    low, high = ax.get_ylim()
    assert low > high, "rows should run downwards"


def test_volume_shows_its_middle_slice():
    data = two_dimensional(axes=3)
    shown = plot.prediction(data).images[0].get_array()
    np.testing.assert_allclose(shown, np.clip(data.field.values[-1, :, :, 3], 0, 1))


def test_loss_is_drawn_where_there_is_no_field_or_on_request():
    data = two_dimensional()
    for ax in (plot.prediction(data.drop_vars("field")), plot.prediction(data, show="loss")):
        np.testing.assert_allclose(ax.lines[0].get_data(), [STEP, data.loss])
        assert (ax.get_xscale(), ax.get_yscale()) == ("symlog", "log")
        assert ax.get_ylabel() == "Training loss"


def test_loss_of_several_seeds_has_their_mean():
    data = xr.Dataset({"loss": (("seed", "step"), np.array([[4.0, 2.0], [2.0, 1.0]]))}, coords={"step": [0, 5]})
    lines = plot.prediction(data).lines
    assert len(lines) == 3
    np.testing.assert_allclose(lines[-1].get_ydata(), [3.0, 1.5])


def test_images_are_a_row_that_ends_with_the_reference():
    data = two_dimensional()
    reference = np.eye(3, 4)
    axes = plot.images(data, steps=[0, 10000], reference=reference)
    assert [ax.get_title(loc="left") for ax in axes] == ["Step 0", "Step 10,000", "Reference"]
    np.testing.assert_allclose(axes[0].images[0].get_array(), np.clip(data.field[0], 0, 1))
    np.testing.assert_allclose(axes[2].images[0].get_array(), reference)
    assert len(plot.images(data)) == 4


def test_long_strips_are_stacked():
    row, stacked = (plot.images(two_dimensional().isel(axis0=slice(0, end))) for end in (3, 1))
    assert [len({ax.get_subplotspec().rowspan.start for ax in axes}) for axes in (row, stacked)] == [1, 4]


def test_images_on_given_axes():
    axes = Figure().subplots(1, 2)
    assert plot.images(two_dimensional(), steps=[0, 1], axes=axes)[1] is axes[1]
    with pytest.raises(ValueError, match="got 2 axes for 4 pictures"):
        plot.images(two_dimensional(), axes=axes)


def test_quality_pairs_share_a_colour():
    run = lambda start: xr.DataArray(start + np.arange(6.0), dims="step", coords={"step": STEP})
    labels = ["scale 1, train", "scale 1, test", "scale 10, train", "scale 10, test"]
    ax = plot.quality({name: run(float(start)) for start, name in enumerate(labels)})
    assert [line.get_label() for line in ax.lines] == labels
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--", "-", "--"]
    colours = [line.get_color() for line in ax.lines]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    np.testing.assert_allclose(ax.lines[2].get_data(), [STEP, 2 + np.arange(6.0)])
    assert ax.get_ylabel() == "PSNR (dB)"


def test_refusals():
    with pytest.raises(ValueError, match="show='movie'"):
        plot.prediction(two_dimensional(), show="movie")
    with pytest.raises(ValueError, match=r"1 spatial axes, expected 2 or 3"):
        plot.images(one_dimensional())
    with pytest.raises(ValueError, match="everywhere=True"):
        plot.images(one_dimensional(everywhere=False))
    with pytest.raises(ValueError, match="without loss"):
        plot.prediction(xr.Dataset(coords={"step": STEP}))
    with pytest.raises(ValueError, match="no curve"):
        plot.quality({})
    with pytest.raises(ValueError, match=r"dimensions \('seed', 'step'\) for 'a'"):
        plot.quality({"a": xr.DataArray(np.ones((2, 2)), dims=("seed", "step"))})
