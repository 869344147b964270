import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from ntkspec import plot


def density(count=(1000.0, 100.0, 10.0, 1.0), error=0.0, **attrs):
    values = np.asarray(count)
    columns = {
        "count": values,
        "count_standard_error": np.full(len(values), error),
        "count_quadrature_error": np.full(len(values), 2 * error),
        "density": values / 2,
        "density_standard_error": np.full(len(values), error),
    }
    level = np.logspace(-3, 0, len(values))
    return xr.Dataset({n: ("eigenvalue", v) for n, v in columns.items()}, coords={"eigenvalue": level}, attrs=attrs)


def alignment(power=(1.0, 0.9, 0.4, 0.0), error=0.0):
    values = np.asarray(power)
    columns = {
        "cumulative_power": values,
        "cumulative_power_error": np.full(len(values), error),
        "rank": [50.0, 10.0, 3.0, 0.0],
    }
    return xr.Dataset({n: ("eigenvalue", v) for n, v in columns.items()}, coords={"eigenvalue": np.logspace(-3, 0, 4)})


@pytest.mark.parametrize("show", ["density", "count"])
def test_density_is_drawn_against_levels_with_its_band(show):
    d = density(error=3.0)
    ax = plot.density(d, show=show)
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_xdata(), d.eigenvalue)
    np.testing.assert_allclose(line.get_ydata(), d[show])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == "Eigenvalue λ of K"
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    # Two standard errors, and for the count the quadrature's on top.
    assert band.max() == pytest.approx(float(d[show].max()) + (12 if show == "count" else 6))


def test_what_the_quadrature_did_not_resolve_is_shaded_and_said():
    ax = plot.density(density(resolved_down_to=0.01))
    assert len(ax.patches) == 1
    assert "Below λ = 0.01 (shaded)" in ax.get_title(loc="left").replace("\n", " ")
    assert not plot.density(density(resolved_down_to=0.001)).patches


def test_few_modes_stand_on_a_linear_axis():
    assert plot.density(density(count=(4.0, 3.0, 2.0, 0.0)), show="count").get_yscale() == "linear"


def test_alignment_is_power_against_rank_or_level():
    c = alignment(error=0.05)
    ax = plot.alignment(c)
    # Rank 0 has no place on a logarithmic axis.
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [50, 10, 3])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1, 0.9, 0.4])
    assert ax.get_ylabel() == "Cumulative power of the labels"
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.35, 1.0))
    ax = plot.alignment(c, against="eigenvalue")
    assert ax.xaxis_inverted()
    np.testing.assert_allclose(ax.lines[0].get_xdata(), c.eigenvalue)


@pytest.mark.parametrize(("draw", "data"), [(plot.density, density()), (plot.alignment, alignment())])
def test_comparisons_and_given_axes(draw, data):
    mine = Figure().add_subplot()
    assert draw({"one": data, "two": data}, ax=mine) is mine
    assert [text.get_text() for text in mine.get_legend().get_texts()] == ["one", "two"]
    assert len(mine.lines) == 2


def test_refusals():
    with pytest.raises(ValueError, match=r"show='sum', expected 'density' or 'count'"):
        plot.density(density(), show="sum")
    with pytest.raises(ValueError, match=r"against='mode', expected 'rank' or 'eigenvalue'"):
        plot.alignment(alignment(), against="mode")
    for draw in (plot.density, plot.alignment):
        with pytest.raises(ValueError, match="got nothing"):
            draw({})
    with pytest.raises(ValueError, match=r"without density, .*ntkspec\.eigen\.density"):
        plot.density(alignment())
    with pytest.raises(ValueError, match=r"without cumulative_power, .*ntkspec\.eigen\.alignment"):
        plot.alignment(density())
