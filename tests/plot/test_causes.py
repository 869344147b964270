import numpy as np
import pytest
import xarray as xr

from ntkspec import plot

STEP = np.array([10, 100])


@pytest.fixture
def data():
    return xr.Dataset(
        {
            "explained": (("cause", "step"), [[0.03, 0.01], [0.01, -0.02]]),
            "explained_error": (("cause", "step"), [[0.01, 0.01], [0.002, 0.002]]),
            "error_squared": ("step", [0.04, 0.01]),
            "unexplained": ("step", [0.0, 0.02]),
            "explained_common": (("cause", "step"), [[0.0, 0.0], [0.01, 0.0]]),
            "explained_common_error": (("cause", "step"), [[0.0, 0.0], [0.002, 0.0]]),
            "common_squared": ("step", [0.01, -0.001]),
            "unexplained_common": ("step", [0.0, -0.001]),
        },
        coords={
            "cause": ["fluctuation", "moving_kernel"],
            "words": ("cause", ["finite-width fluctuation", "the moving kernel"]),
            "step": STEP,
        },
        attrs={"verdict": "So it is."},
    )


def bars_of(ax):
    return {one.get_label(): one for one in ax.containers if hasattr(one, "patches")}


def test_parts_are_stacked_and_add_up(data):
    ax = plot.causes(data)
    bars = bars_of(ax)
    assert set(bars) == {"finite-width fluctuation", "the moving kernel", "unexplained"}
    heights = {name: np.array([patch.get_height() for patch in one.patches]) for name, one in bars.items()}
    np.testing.assert_allclose(sum(heights.values()), 100)
    np.testing.assert_allclose(heights["the moving kernel"], [25, -200])
    bottoms = [patch.get_y() for patch in bars["the moving kernel"].patches]
    # What brings networks nearer to theory hangs below.
    np.testing.assert_allclose(bottoms, [75, 0])
    assert [text.get_text() for text in ax.texts] == ["20 %", "10 %"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["10", "100"]
    assert ax.get_xlabel().endswith("(above: root mean square error of a network)")
    assert ax.get_title(loc="left") == "So it is."
    assert ax.get_ylabel() == "Part of the squared error (%)"


def test_parts_of_the_mean(data):
    ax = plot.causes(data, of="mean")
    heights = [patch.get_height() for patch in bars_of(ax)["the moving kernel"].patches]
    # A square below zero is one that is too small to see.
    np.testing.assert_allclose(heights, [100, 0])
    assert ax.texts[1].get_text() == "0"


def test_refusals(data):
    with pytest.raises(ValueError, match="of='seed'"):
        plot.causes(data, of="seed")
    with pytest.raises(ValueError, match=r"without unexplained .*ntkspec\.validation\.explain"):
        plot.causes(data.drop_vars("unexplained"))
