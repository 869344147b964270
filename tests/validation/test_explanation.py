"""What controls found in words, of made-up findings."""

import json

import numpy as np
import pytest
import xarray as xr

from ntkspec.validation.explanation import gap_in_words, named


@pytest.fixture
def causes():
    """Early steps scatter, late ones are off in common, as networks of width 512 are of the paper's signal."""
    by_cause = {
        "share": [[1.0, 0.69], [0.0, 0.27]],
        "explained_common": [[0.0, 0.0], [0.0, 3.9e-4]],
    }
    by_step = {
        "error_squared": [2.7e-3, 1.4e-3],
        "common_squared": [-1e-5, 4.5e-4],
        "unexplained_common": [-1.6e-5, 5e-5],
        "unexplained_common_error": [1e-5, 2e-5],
        "unexplained_share": [0.0, 0.04],
        "unexplained_share_error": [0.04, 0.03],
        "unexplained_error": [1e-4, 4e-5],
    }
    variables = {name: (("cause", "step"), np.array(values)) for name, values in by_cause.items()}
    variables |= {f"{name}_error": (("cause", "step"), 0.02 * np.abs(values)) for name, values in by_cause.items()}
    variables |= {name: ("step", np.array(values)) for name, values in by_step.items()}
    coords = {
        "cause": ["fluctuation", "moving_kernel"],
        "words": ("cause", ["finite-width fluctuation", "the moving kernel"]),
        "step": [10, 100],
    }
    attrs = {"seeds": 16, "left_out": json.dumps({}), "catapults": 0, "prediction_error": 0.0}
    return xr.Dataset(variables, coords, attrs)


def test_what_seeds_share_is_told_where_it_is_largest(causes):
    assert named(causes, "explained") == "fluctuation"
    assert named(causes, "explained_common") == "moving_kernel"
    said = gap_in_words(causes.assign_attrs(cause_of_mean="moving_kernel"))
    assert "at step 10 (5.2" in said
    assert "Of what all seeds share, at most 2.1" in said
    assert "(step 100), the moving kernel explains 87" in said


def test_of_one_network_nothing_is_shared(causes):
    alone = causes.assign(common_squared=causes.common_squared * np.nan)
    assert named(alone, "explained_common") == "unexplained"
