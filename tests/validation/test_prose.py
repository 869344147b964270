"""Sentences of made-up findings."""

import json

import numpy as np
import pytest
import xarray as xr

from ntkspec.validation._prose import explanation, percent
from ntkspec.validation._shares import named


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
        "step": [10, 100],
    }
    attrs = {"seeds": 16, "left_out": json.dumps([]), "catapults": 0, "prediction_error": 0.0}
    attrs |= {"cause": "fluctuation", "cause_of_mean": "unexplained"}
    return xr.Dataset(variables, coords, attrs)


def test_what_seeds_share_is_told_where_it_is_largest(causes):
    assert named(causes, "explained") == "fluctuation"
    assert named(causes, "explained_common") == "moving_kernel"
    said = explanation(causes.assign_attrs(cause_of_mean="moving_kernel"))
    # The mean of norms, which `validate` tells, is another number: this one says what it is.
    assert "at step 10 (5.2\N{NO-BREAK SPACE}% of the signal, root mean square)" in said
    assert "of what all networks share, at most 2.1" in said
    assert "(step 100), the moving kernel (feature learning) explains 87" in said
    assert said.startswith("To come closer to theory, train wider networks")
    assert "Not checked: whether kernels moved" not in said


def test_of_one_network_nothing_is_shared(causes):
    alone = causes.assign(common_squared=causes.common_squared * np.nan)
    assert named(alone, "explained_common") == "unexplained"


def test_more_than_all_is_said_to_be_so_in_the_digits_of_the_table(causes):
    more = "(above 100 %, for other causes take some off)"
    assert more not in explanation(causes)
    more_than_all = causes.assign(share=causes.share + xr.DataArray([0.055, -0.055], dims="cause"))
    said = explanation(more_than_all)
    assert f"fluctuation explains 106\N{NO-BREAK SPACE}% ± 2\N{NO-BREAK SPACE}% {more}; the moving" in said.replace(
        "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}", " ± "
    )
    assert percent(1.055) == "106\N{NO-BREAK SPACE}%"
    assert percent(12.34) == "1234\N{NO-BREAK SPACE}%"
    assert percent(0.105) == "10\N{NO-BREAK SPACE}%"


@pytest.mark.parametrize(
    ("error", "in_theory", "said"),
    [
        (0.1, 1, "the spread falls as width^−0.4 ± 0.1, in theory as width^−1/2."),
        (0.1, 0, "the spread falls as width^−0.4 ± 0.1."),
        (0.3, 1, "these networks do not show how the spread falls with the width (width^−0.4 ± 0.3)."),
    ],
)
def test_a_power_of_the_spread_is_held_against_theory_only_where_there_is_one(causes, error, in_theory, said):
    of_steps = {"spread_exponent": ("step", [0.4, 0.4]), "spread_exponent_error": ("step", [error, error])}
    assert said in explanation(causes.assign(of_steps).assign_attrs(spread_in_theory=in_theory))
