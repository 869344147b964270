import dataclasses
import enum
import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ntkspec import record


class Loss(enum.Enum):
    SUM = 1


class Level(enum.StrEnum):
    HIGH = "high"


@dataclass(frozen=True)
class Inner:
    rate: float
    loss: Loss = Loss.SUM


@dataclass(frozen=True)
class Outer:
    inner: Inner
    shape: tuple[int, ...]
    weights: np.ndarray
    out: Path | None = None


def test_configuration_of_nested_dataclasses():
    outer = Outer(Inner(0.1), (4, 5), np.array([[1.0, np.inf]]), Path("out/dir"))
    assert record.configuration(outer) == {
        "class": "Outer",
        "inner": {"class": "Inner", "rate": 0.1, "loss": "Loss.SUM"},
        "shape": [4, 5],
        "weights": [[1.0, "inf"]],
        "out": "out/dir",
    }


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (None, None),
        (True, True),
        (np.True_, True),
        (3, 3),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (float("nan"), "nan"),
        (-np.inf, "-inf"),
        (1 + 2j, {"real": 1.0, "imag": 2.0}),
        (np.complex64(2j), {"real": 0.0, "imag": 2.0}),
        (np.str_("a"), "a"),
        (Level.HIGH, "Level.HIGH"),
        (PurePosixPath("a/b"), "a/b"),
        (np.dtype("float32"), "float32"),
        ({1: (2, 3)}, {"1": [2, 3]}),
        ({3, 1}, [1, 3]),
        (np.sin, "numpy.sin"),
        (json.dumps, "json.dumps"),
        (np.ndarray, "numpy.ndarray"),
        (functools.partial(int), {"class": "partial"}),
        (np.array([None, {"a": 1}], object), [None, {"a": 1}]),
    ],
)
def test_configuration_of_single_objects(obj, expected):
    described = record.configuration(obj)
    assert described == expected
    assert json.loads(json.dumps(described, allow_nan=False)) == expected


@pytest.mark.parametrize("array", [np.arange(64.0), np.zeros((8, 8)), np.zeros(0), np.float64(1)])
def test_small_arrays_are_listed(array):
    assert record.configuration(array) == array.tolist()


def test_large_arrays_become_a_digest():
    array = np.arange(65, dtype=np.float32).reshape(5, 13)
    described = record.configuration(array)
    assert described["shape"] == [5, 13]
    assert described["dtype"] == "float32"
    assert len(described["sha256"]) == 64
    assert record.configuration(np.asfortranarray(array)) == described
    assert record.configuration(array.astype(">f4")) == described
    assert record.configuration(jnp.asarray(array)) == described
    assert record.configuration(array + 1)["sha256"] != described["sha256"]


def test_random_keys_are_told():
    assert record.configuration(jax.random.PRNGKey(3)) == [0, 3]
    assert record.configuration(jax.random.key(3)) != record.configuration(jax.random.key(4))


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | hnp.arrays(float, hnp.array_shapes(max_side=9)),
        lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_configuration_is_json(obj):
    json.dumps(record.configuration(obj), allow_nan=False)


def test_versions():
    found = record.versions()
    assert found["jax"] == jax.__version__
    assert found["xarray"] == xr.__version__
    assert {"ntkspec", "python", "jaxlib", "numpy", "system", "machine"} <= set(found)
    assert os.uname().nodename not in found.values()


def test_versions_of_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(record, "PACKAGES", ("no-such-package",))
    assert record.versions()["no-such-package"] == "unknown"


def test_attributes():
    attributes = record.attributes(inner=Inner(0.1), steps=[0, 5])
    assert json.loads(attributes["configuration"]) == {
        "inner": {"class": "Inner", "rate": 0.1, "loss": "Loss.SUM"},
        "steps": [0, 5],
    }
    assert json.loads(attributes["versions"]) == record.versions()
    assert attributes["ntkspec_version"] == record.versions()["ntkspec"]
    assert all(isinstance(value, str) for value in attributes.values())


def test_configuration_of_a_task_is_a_digest():
    from ntkspec.task import signal

    described = record.configuration(signal.paper())
    assert described["class"] == "Task"
    assert described["values"]["shape"] == [256]
    assert set(described) == {"class"} | {field.name for field in dataclasses.fields(signal.Task)}
