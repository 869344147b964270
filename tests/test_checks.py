"""Input checks that every room shares: what is no number, no step, no flag and no reporter is refused in words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import ntkspec as ns
from ntkspec import checks

OBJECT = object()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("ab", "labels are 'ab'; expected numbers, two of them"),
        (None, "labels are None"),
        (OBJECT, "labels are a object"),
        ({"a": 1}, "labels are a dict"),
        (lambda: 0, "labels are a function"),
        (["1", "2"], "labels are strings"),
        (np.array(["1.5"]), "labels are strings"),
        ([b"1"], "labels are bytes"),
        ([1, None], "labels are partly None"),
        (np.array([1, OBJECT]), "labels are partly of type object"),
        ([1, [2, 3]], "labels are rows of several lengths"),
        (xr.Dataset(), "labels are a Dataset"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "labels are dates"),
        ([1j, 2.0], "labels are complex; give two channels"),
        (np.array([1j], dtype=object), "labels are partly of type complex"),
        (jax.random.key(0), "labels are a .*Array"),
    ],
)
def test_what_is_no_array_of_real_numbers_is_refused(values, message):
    with pytest.raises(TypeError, match=message):
        checks.check_numbers("labels", values, "two of them", "give two channels")


@pytest.mark.parametrize(
    "values",
    [
        [1, 0],
        [True, False],
        np.array([1, 0], dtype=object),
        np.array([1, 0], dtype=np.float16),
        jnp.array([1, 0], dtype=jnp.bfloat16),
        xr.DataArray([1, 0]),
        [jnp.ones(()), jnp.zeros(())],
    ],
    ids=["list", "bools", "objects", "half", "bfloat16", "xarray", "list of arrays"],
)
def test_numbers_of_every_kind_are_taken(values):
    found = checks.check_numbers("labels", values, "", "")
    assert found.dtype == np.float64
    assert found.tolist() == [1, 0]
    # Under jit, and as a list of what is traced.
    traced = jax.jit(lambda a, b: checks.check_numbers("labels", [a, b], "", ""))(1.0, 0.0)
    assert traced.tolist() == [1, 0]


@pytest.mark.parametrize("steps", [[0, [1]], [0, 1j], "12", {1, 2}, (i for i in range(2)), [True], None])
def test_what_is_no_list_of_steps_is_refused(steps):
    for check in (checks.check_steps, checks.check_whole_steps):
        with pytest.raises(ValueError, match=r"steps=.*; expected a list of numbers such as \[0, 10, 100\]"):
            check(steps)


def test_whole_steps():
    assert checks.check_whole_steps([0, 2.0]).dtype == np.int64
    for steps in ([0.5], [1e30]):
        with pytest.raises(ValueError, match="expected whole numbers: a network takes no half steps"):
            checks.check_whole_steps(steps)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: checks.check_flag("centered", 1), "centered=1; expected True or False"),
        (lambda: checks.check_function("observe", 3, "a function"), "observe=3; expected a function, or None"),
        (lambda: checks.check_progress(3), r"progress=3; expected a reporter .* such as ns\.progress"),
        (lambda: checks.check_progress(None), "progress=None; expected"),
        (lambda: checks.check_progress(ns.progress.TerminalProgress), "progress=<class .*; expected a reporter"),
        (lambda: checks.check_positive("accuracy", [0.1], "0.1"), r"accuracy=\[0\.1\]; expected a positive number"),
        (lambda: checks.check_positive("accuracy", True, "0.1"), r"accuracy=True; expected a positive number"),
        (lambda: checks.check_flag("check", np.zeros(99)), "check=a ndarray; expected True"),
    ],
)  # fmt: skip
def test_things_of_the_wrong_kind_are_named(check, message):
    with pytest.raises(TypeError, match=message):
        check()


def test_things_of_the_right_kind_pass():
    checks.check_flag("centered", np.True_)
    checks.check_function("observe", None, "")
    checks.check_function("observe", print, "")
    for progress in (ns.progress.NO_PROGRESS, ns.progress.TerminalProgress()):
        checks.check_progress(progress)
    checks.check_positive("accuracy", jnp.asarray(0.1), "")


@pytest.mark.parametrize("value", [-1, 7, 8.0, "8", None, True])
def test_sizes_have_a_least(value):
    checks.check_sizes(8, size=np.int64(8))
    with pytest.raises(ValueError, match=r"size=.*; expected a whole number of at least 8"):
        checks.check_sizes(8, size=value)


def test_braces_of_a_file_name_are_no_arguments():
    refused = checks.Refused("a{b}.csv and {c} have no column; give {inputs}", inputs="x,y")
    assert str(refused) == "a{b}.csv and {c} have no column; give inputs='x,y'"
    assert refused.on_command_line() == "a{b}.csv and {c} have no column; give --inputs x,y"
