import json
import os
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from ntkspec import record


@dataclass(frozen=True)
class Rate:
    value: float


def example():
    return xr.Dataset(
        {
            "train": (("step", "point"), np.arange(6.0).reshape(2, 3), {"units": "1"}),
            "stable": ("step", np.array([True, False])),
            "name": ("point", np.array(["a", "bb", "ü"])),
            "rate": 0.5,
        },
        coords={"step": ("step", [0, 10], {"units": "step", "log": True})},
        attrs={
            "converged": True,
            "count": 3,
            "scale": 0.25,
            "sizes": [1, 2],
            "names": ["a", "b"],
            "text": "Θ",
        },
    )


def test_dataset_round_trip(tmp_path):
    dataset = example()
    path = tmp_path / "made" / "on the way" / "a.nc"
    record.save(dataset, path)
    loaded = record.load(path)
    xr.testing.assert_equal(loaded, dataset)
    assert loaded["stable"].dtype == bool
    assert loaded["train"].attrs == {"units": "1"}
    assert loaded["step"].attrs == {"units": "step", "log": 1}
    assert loaded.attrs["converged"] == 1
    assert loaded.attrs["count"] == 3
    assert loaded.attrs["sizes"].tolist() == [1, 2]
    assert loaded.attrs["names"] == ["a", "b"]
    assert loaded.attrs["text"] == "Θ"
    assert [file.name for file in path.parent.iterdir()] == ["a.nc"]


def test_saving_leaves_the_dataset_as_it_was(tmp_path):
    dataset = example()
    record.save(dataset, tmp_path / "a.nc")
    assert dataset.attrs["converged"] is True
    assert dataset["step"].attrs["log"] is True


def test_attributes_without_a_netcdf_type(tmp_path):
    dataset = xr.Dataset(
        attrs={
            "none": None,
            "dict": {"a": 1},
            "path": Path("a/b"),
            "flags": (True, False),
            "inner": Rate(1.0),
        }
    )
    dataset.attrs |= {"array": jnp.arange(2), "bool": np.True_}
    record.save(dataset, tmp_path / "a.nc")
    attrs = record.load(tmp_path / "a.nc").attrs
    assert (attrs["none"], attrs["dict"], attrs["path"]) == ("null", '{"a": 1}', "a/b")
    assert attrs["flags"].tolist() == [1, 0]
    assert json.loads(attrs["inner"])["class"] == "Rate"
    assert attrs["array"].tolist() == [0, 1]
    assert attrs["bool"] == 1


def test_jax_arrays_are_saved(tmp_path):
    record.save(xr.Dataset({"a": ("x", jnp.arange(3.0))}), tmp_path / "a.nc")
    assert record.load(tmp_path / "a.nc")["a"].values.tolist() == [0, 1, 2]


def test_loaded_file_is_closed(tmp_path):
    path = tmp_path / "a.nc"
    record.save(example(), path)
    loaded = record.load(path)
    assert loaded.encoding == {}
    path.unlink()
    assert loaded["train"].values.sum() == 15
    record.save(loaded, path)
    record.save(loaded.isel(step=[0]), path)
    assert record.load(path).sizes["step"] == 1


def test_groups_round_trip(tmp_path):
    datasets = {"spectrum": example(), "prediction": xr.Dataset({"a": ("x", [1, 2])}, attrs={"b": False})}
    record.save_groups(datasets, tmp_path / "results.nc")
    loaded = record.load_groups(tmp_path / "results.nc")
    assert list(loaded) == ["prediction", "spectrum"]
    for name, dataset in datasets.items():
        xr.testing.assert_equal(loaded[name], dataset)
        assert loaded[name].encoding == {}
    record.save_groups({"other": example()}, tmp_path / "results.nc")
    assert list(record.load_groups(tmp_path / "results.nc")) == ["other"]


@pytest.mark.parametrize("name", ["", "a/b", "."])
def test_group_names(tmp_path, name):
    with pytest.raises(ValueError, match="is no group name; give one without a slash"):
        record.save_groups({name: example()}, tmp_path / "a.nc")


def test_no_groups(tmp_path):
    with pytest.raises(ValueError, match="got no dataset"):
        record.save_groups({}, tmp_path / "a.nc")
    record.save(example(), tmp_path / "a.nc")
    with pytest.raises(ValueError, match="has no groups; read it with `load`"):
        record.load_groups(tmp_path / "a.nc")


@pytest.mark.parametrize("load", [record.load, record.load_groups])
def test_load_refuses(tmp_path, load):
    with pytest.raises(FileNotFoundError, match=r"absent\.nc does not exist"):
        load(tmp_path / "absent.nc")
    with pytest.raises(ValueError, match="is not a netCDF file that can be read"):
        load(tmp_path)
    path = tmp_path / "a.nc"
    for content in (b"", b"no netCDF at all"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.nc is not a netCDF file that can be read"):
            load(path)
    record.save_groups({"a": example()}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"a\.nc is not a netCDF file that can be read"):
        load(path)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_killed_write_leaves_what_was_there(tmp_path, monkeypatch, error):
    path = tmp_path / "a.nc"
    record.save(example(), path)
    before = path.read_bytes()

    def half(self, target, **options):
        Path(target).write_bytes(b"half")
        raise error

    for kind in (xr.Dataset, xr.DataTree):
        monkeypatch.setattr(kind, "to_netcdf", half)
    for save in (lambda: record.save(example(), path), lambda: record.save_groups({"a": example()}, path)):
        with pytest.raises(type(error)):
            save()
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


def test_second_group_failing_leaves_nothing(tmp_path):
    bad = xr.Dataset({"a": ("x", np.array([object()]))})
    with pytest.raises((TypeError, ValueError)):
        record.save_groups({"good": example(), "bad": bad}, tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []


def test_replaced_file_appears_at_the_end(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with record.replace_file(str(path)) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".json"
        assert temporary.name.startswith(".a.")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o666 & ~os.umask(os.umask(0o022))
    assert list(tmp_path.iterdir()) == [path]


def test_replaced_file_takes_a_figure(tmp_path):
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib.figure import Figure

    with record.replace_file(tmp_path / "a.png") as temporary:
        Figure().savefig(temporary)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_replaced_file_that_cannot_be(tmp_path):
    with (
        pytest.raises(ValueError, match="is a folder; give the name of a file in it"),
        record.replace_file(tmp_path),
    ):
        pass
    (tmp_path / "file").write_text("")
    for below in ("file/a.nc", "file/b/a.nc"):
        with (
            pytest.raises(ValueError, match="a file is where its folder should be"),
            record.replace_file(tmp_path / below),
        ):
            pass
