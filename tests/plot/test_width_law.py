import numpy as np
import pytest
import xarray as xr

from ntkspec import plot

WIDTH = np.array([32, 64, 128])


@pytest.fixture
def data():
    value = np.stack([np.outer(WIDTH**-0.5, [1.0, 2.0]), np.outer(1.0 / WIDTH, [1.0, 2.0])])
    value[1, 2, 0] = np.nan
    return xr.Dataset(
        {
            "value": (("quantity", "width", "step"), value),
            "value_interval": (("bound", "quantity", "width", "step"), np.stack([0.9 * value, 1.2 * value])),
            "constant": (("quantity", "step"), [[1.0, 2.0], [1.0, 2.0]]),
            "exponent": (("quantity", "step"), [[0.5, 0.5], [1.0, np.nan]]),
        },
        coords={
            "quantity": ["error", "bias"],
            "words": ("quantity", ["error of a network", "what all networks share"]),
            "width": WIDTH,
            "step": [10, 100],
            "bound": ["low", "high"],
        },
        attrs={
            "accuracy": 0.1, "verdict": "So it falls.",
            "checked_width": 400, "checked_error": 0.1, "checked_error_sem": 0.005,
        },
    )  # fmt: skip


def test_marks_laws_and_guide(data):
    ax = plot.width_law(data)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    # Two steps of two quantities, and what was checked.
    assert len(ax.containers) == 5
    error = data.value.sel(quantity="error", step=10)
    np.testing.assert_allclose(ax.containers[0].lines[0].get_ydata(orig=False), error)
    segments = np.array(ax.containers[0].lines[2][0].get_segments())
    np.testing.assert_allclose(np.diff(segments[:, :, 1]).ravel(), 0.3 * error)
    laws = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    np.testing.assert_allclose(laws[0].get_ydata(), np.array([32, 400.0]) ** -0.5)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[:4] == ["step 10", "step 100", "error of a network", "what all networks share"]
    assert labels[4:] == ["width$^{-1/2}$", "checked", "accuracy 0.1"]
    assert ax.get_ylabel() == "Distance to theory, relative to the signal"
    assert ax.get_title(loc="left") == "So it falls."


def test_what_was_not_checked_is_not_drawn(data):
    data.attrs = {"checked_width": 0}
    ax = plot.width_law(data, quantities=["error"])
    assert len(ax.containers) == 2
    assert "checked" not in [text.get_text() for text in ax.get_legend().get_texts()]


def test_refusals(data):
    with pytest.raises(ValueError, match=r"got quantities loss; the data has error, bias"):
        plot.width_law(data, quantities=["loss"])
    with pytest.raises(ValueError, match=r"without exponent .*ntkspec\.validation\.width_law"):
        plot.width_law(data.drop_vars("exponent"))
