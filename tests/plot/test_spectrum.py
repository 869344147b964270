import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from ntkspec import plot
from ntkspec.plot import _style as style


def make(
    eigenvalue=(8.0, 4.0, 2.0, 1.0),
    frequency=((0, 0), (3, 4), (-6, 8), (0, 40)),
    error=0.0,
    purity=None,
    **attrs,
):
    values = np.array(eigenvalue)
    data = xr.Dataset(
        {
            "eigenvalue": ("mode", values, {"long_name": "eigenvalue", "units": "1"}),
            "eigenvalue_error": ("mode", np.broadcast_to(error, values.shape)),
            "dominant_frequency": (("mode", "axis"), np.array(frequency, float), {"units": "cycles/mm"}),
        },
        attrs=attrs,
    )
    if purity is not None:
        data["dominant_power"] = ("mode", np.array(purity))
    return data


def points(collection):
    return np.asarray(collection.get_offsets())


def test_points_are_the_eigenvalues_at_the_norm_of_their_frequency():
    ax = plot.spectrum(make())
    (shown,) = ax.collections
    np.testing.assert_allclose(points(shown), [[0, 8], [5, 4], [10, 2], [40, 1]])
    assert ax.get_yscale() == "log"
    assert ax.get_xlabel() == "Dominant frequency, magnitude (cycles/mm)"
    assert ax.get_ylabel() == "Eigenvalue"
    assert ax.get_legend() is None
    assert ax.get_title(loc="left") == ""


def test_frequency_axis_keeps_zero_and_is_logarithmic_over_decades():
    wide = plot.spectrum(make(frequency=((0, 0), (1, 0), (10, 0), (100, 0))))
    narrow = plot.spectrum(make(frequency=((0, 0), (1, 0), (2, 0), (3, 0))))
    assert wide.get_xscale() == "symlog"
    assert wide.get_xlim()[0] < 0 < 100 < wide.get_xlim()[1]
    assert narrow.get_xscale() == "linear"


def test_against_mode_ranks_from_one():
    ax = plot.spectrum(make(), against="mode")
    np.testing.assert_allclose(points(ax.collections[0]), [[1, 8], [2, 4], [3, 2], [4, 1]])
    assert ax.get_xlabel().startswith("Mode")


def test_purity_colours_the_points_unless_all_are_pure():
    mixed = plot.spectrum(make(purity=[1.0, 0.5, 0.7, 0.2]))
    np.testing.assert_allclose(mixed.collections[0].get_array(), [1.0, 0.5, 0.7, 0.2])
    assert len(mixed.figure.axes) == 2
    assert mixed.figure.axes[1].get_ylabel().startswith("Purity")
    pure = plot.spectrum(make(purity=[1.0, 1.0, 1.0, 1.0]))
    assert len(pure.figure.axes) == 1


def test_eigenvalues_within_their_error_are_faint_and_noted():
    ax = plot.spectrum(make(eigenvalue=(8.0, 4.0, 1e-12, -1e-12), error=1e-11))
    resolved, faint = ax.collections
    np.testing.assert_allclose(points(resolved)[:, 1], [8.0, 4.0])
    np.testing.assert_allclose(points(faint)[:, 1], [1e-12])
    assert ax.get_ylim()[0] > 1e-3
    assert "2 of 4 modes are not above their error bound" in ax.get_title(loc="left").replace("\n", " ")


def test_nothing_resolved_still_draws():
    ax = plot.spectrum(make(eigenvalue=(1e-12, 1e-13, 0.0, -1e-12), error=1.0))
    np.testing.assert_allclose(points(ax.collections[-1])[:, 1], [1e-12, 1e-13])


def test_incomplete_spectrum_says_so():
    ax = plot.spectrum(make(complete=0, num_points=65536))
    assert ax.get_title(loc="left") == "The largest 4 of 65,536 modes."


@pytest.mark.parametrize("form", [dict, list])
def test_comparison_has_a_colour_and_a_label_each(form):
    pair = {"scale 1": make(), "scale 10": make(eigenvalue=(9.0, 5.0, 3.0, 2.0))}
    ax = plot.spectrum(pair if form is dict else list(pair.values()))
    first, second = ax.collections
    assert not np.allclose(first.get_facecolor(), second.get_facecolor())
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == (["scale 1", "scale 10"] if form is dict else ["1", "2"])
    assert ax.get_ylim()[0] < 1 < 9 < ax.get_ylim()[1]


def test_draws_on_the_axes_given():
    mine = Figure().add_subplot()
    assert plot.spectrum(make(), ax=mine) is mine


def test_refusals():
    with pytest.raises(ValueError, match=r"against='rank'.*expected 'frequency' or 'mode'"):
        plot.spectrum(make(), against="rank")
    with pytest.raises(ValueError, match=r"without dominant_frequency .*ntkspec\.eigen\.spectrum"):
        plot.spectrum(make().drop_vars("dominant_frequency"))
    with pytest.raises(ValueError, match="got nothing; pass one spectrum"):
        plot.spectrum({})
    with pytest.raises(TypeError, match="got a float"):
        plot.spectrum([1.0])


def test_style_spread_keeps_both_ends():
    picked = style.spread(np.arange(1001), 5)
    assert len(picked) == 5
    assert picked[0] == 0
    assert picked[-1] == 1000
    assert np.all(np.diff(np.diff(picked)) > 0)


def test_style_nearest_is_unique_and_sorted():
    assert style.nearest(xr.DataArray([0, 10, 20]), [19, 21, 1]).tolist() == [0.0, 20.0]


@pytest.mark.parametrize(("units", "expected"), [("1", "Loss"), ("dB", "Loss (dB)")])
def test_style_label(units, expected):
    assert style.label(xr.DataArray(0, attrs={"units": units}), "loss") == expected


def test_spread_is_a_bar_through_each_impure_point():
    data = make(purity=[1.0, 0.5, 0.7, 0.2])
    data["frequency_spread"] = ("mode", [0.0, 2.0, 20.0, 8.0])
    bars = plot.spectrum(data).collections[-1].get_segments()
    # At 5 ± 2, 10 ± 20 (cut at 0) and 40 ± 8.
    np.testing.assert_allclose([bar[:, 0] for bar in bars], [[3, 7], [0, 30], [32, 48]])
    np.testing.assert_allclose([bar[0, 1] for bar in bars], [4, 2, 1])
    assert len(plot.spectrum({"a": data, "b": data}).collections) == 2
    assert len(plot.spectrum(data, against="mode").collections) == 1
