"""What is kept: a result with its configuration and versions, on disk whole or not at all."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import platform
import uuid
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from enum import Enum
from importlib import metadata
from math import isfinite
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray

__all__ = [
    "attributes",
    "configuration",
    "load",
    "load_groups",
    "replace_file",
    "save",
    "save_groups",
    "step_coordinate",
    "variable",
    "versions",
]

LISTED = 64
"""Arrays of up to this many entries are written out in a configuration; larger ones as a digest."""

PACKAGES = ("ntkspec", "jax", "jaxlib", "numpy", "scipy", "xarray", "h5netcdf")


def configuration(obj: Any) -> Any:
    """Describe an object in what JSON can hold.

    A dataclass becomes a dict of its fields with its name under `"class"`; so do nested ones. An array of up to 64
    entries becomes a list, a larger one its shape, dtype and SHA-256 digest. Infinity and NaN become strings, a path or
    an enum member its text, a function or class its qualified name. Of any other object only the class name is kept.

    Args:
        obj: any object, mostly a frozen dataclass.

    Returns:
        A dict, list, string, number, bool or None.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Rate:
        ...     value: float
        >>> configuration(Rate(0.5))
        {'class': 'Rate', 'value': 0.5}
    """
    if obj is None or isinstance(obj, bool):
        return obj
    # Before str and int, because an enum member may be either.
    if isinstance(obj, Enum):
        return f"{type(obj).__name__}.{obj.name}"
    if isinstance(obj, int):
        return obj
    if isinstance(obj, float):
        return float(obj) if isfinite(obj) else str(float(obj))
    if isinstance(obj, complex):
        return {"real": configuration(obj.real), "imag": configuration(obj.imag)}
    if isinstance(obj, str | PurePath | np.dtype):
        return str(obj)
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        fields = {field.name: configuration(getattr(obj, field.name)) for field in dataclasses.fields(obj)}
        return {"class": type(obj).__name__, **fields}
    if isinstance(obj, Mapping):
        return {str(key): configuration(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [configuration(value) for value in obj]
    if isinstance(obj, set | frozenset):
        return sorted((configuration(value) for value in obj), key=repr)
    if hasattr(obj, "__array__") and hasattr(obj, "dtype") and not isinstance(obj, type):
        return _array(obj)
    if callable(obj) and hasattr(obj, "__name__"):
        # NumPy's own functions have neither a qualified name nor a module before 2.2.
        module = getattr(obj, "__module__", None) or type(obj).__module__
        return f"{module}.{getattr(obj, '__qualname__', obj.__name__)}"
    return {"class": type(obj).__name__}


def _array(obj: Any) -> Any:
    try:
        array = np.asarray(obj)
    # A typed JAX random key is no array of numbers, but shows what it holds.
    except TypeError:
        return str(obj)
    if array.size <= LISTED or array.dtype == object:
        return configuration(array.tolist())
    # One byte order, so that the digest is the same on every machine.
    stored = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "sha256": hashlib.sha256(stored.tobytes()).hexdigest(),
    }


def variable(dims: str | tuple[str, ...], values: Any, long_name: str, units: str = "") -> tuple:
    """Return what `xarray.Dataset` takes for a variable, with what labels its axis in a plot.

    Example:
        >>> variable("step", [1, 2], "loss")
        ('step', [1, 2], {'long_name': 'loss', 'units': ''})
    """
    return dims, values, {"long_name": long_name, "units": units}


def step_coordinate(steps: Any) -> tuple:
    """Return the coordinate `step` of a Dataset."""
    return variable("step", steps, "training step", "steps")


def versions() -> dict[str, str]:
    """Versions of what computed a result, and the kind of machine; nothing that names the machine.

    Packages that are not installed are "unknown"; beside them are "python", "system" and "machine".

    Example:
        >>> versions()["numpy"] == np.__version__
        True
    """
    found = {"python": platform.python_version(), **{package: _installed(package) for package in PACKAGES}}
    return {**found, "system": platform.system(), "machine": platform.machine()}


@functools.cache
def _installed(package: str) -> str:
    # A search of the import path, a millisecond each: a prediction would feel it.
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def attributes(**objects: Any) -> dict[str, str]:
    """Dataset attributes of what went into a result: its `configuration` and `versions` as JSON, `ntkspec_version`.

    Example:
        >>> attributes(steps=[0, 10])["configuration"]
        '{"steps": [0, 10]}'
    """
    described = {name: configuration(value) for name, value in objects.items()}
    installed = versions()
    return {
        "configuration": json.dumps(described, ensure_ascii=False),
        "versions": json.dumps(installed),
        "ntkspec_version": installed["ntkspec"],
    }


def check_dataset(
    got: str, data: Any, names: Sequence[Hashable], *, source: str, attributes: Sequence[str] = ()
) -> xarray.Dataset:
    """Return a Dataset that has the variables and attributes which are needed of it.

    The message begins with `got`, such as "`p` is", and names the function `source` that makes such a Dataset.
    """
    import xarray

    if not isinstance(data, xarray.Dataset):
        raise TypeError(f"{got} a {type(data).__name__}, expected a Dataset from `{source}`.")
    if missing := [str(name) for name in names if name not in data]:
        raise ValueError(
            f"{got} a Dataset without {', '.join(missing)} (it has "
            f"{', '.join(map(str, data.data_vars)) or 'no variables'}); pass a result of `{source}`."
        )
    if missing := [name for name in attributes if name not in data.attrs]:
        raise ValueError(
            f"{got} a Dataset without the attributes {', '.join(missing)}, which arithmetic drops; pass a result of "
            f"`{source}` as it came, or copy its attrs."
        )
    return data


@contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Write a file whole or not at all.

    Args:
        path: the file to be; missing folders above it are made.

    Yields:
        A path in the same folder to write to, with the same suffix and a leading dot. It takes the place of
        `path` when the block ends, and is deleted if the block fails.

    Raises:
        ValueError: if `path` cannot be a file, because it is a folder or lies below a file.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with replace_file(f"{folder}/new/numbers.json") as temporary:
        ...         _ = temporary.write_text("[1, 2]")
        ...     Path(folder, "new", "numbers.json").read_text()
        '[1, 2]'
    """
    target = Path(path).expanduser()
    if target.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file in it.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"{path} cannot be written: a file is where its folder should be.") from None
    temporary = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: str | Path) -> None:
    """Refuse a folder that could not be made or written to, before the work whose result is to go there.

    Args:
        folder: need not exist.

    Raises:
        ValueError: if it, or the first folder above it that is there, is a file or may not be written to.
    """
    found = Path(folder).expanduser().absolute()
    while not found.exists() and found != found.parent:
        found = found.parent
    if not found.is_dir():
        raise ValueError(f"{folder} cannot be a folder: {found} is a file; choose another place.")
    if not os.access(found, os.W_OK | os.X_OK) or str(found).startswith(("/proc", "/sys")):
        raise ValueError(f"{folder} cannot be written: {found} does not allow it; choose another place.")


def save(dataset: xarray.Dataset, path: str | Path) -> None:
    """Write a dataset to netCDF.

    An attribute that netCDF has no type for is changed: a bool to 0 or 1, None or a dict to JSON text.

    Args:
        dataset: what to keep.
        path: the file, usually `.nc`; replaced if it is there.

    Raises:
        ValueError: if `path` cannot be a file.
    """
    with replace_file(path) as temporary:
        _storable(dataset).to_netcdf(temporary, engine="h5netcdf")


def load(path: str | Path) -> xarray.Dataset:
    """Read a dataset from a file that `save` wrote, or any netCDF 4 file, into memory; the file is closed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not netCDF.
    """
    import xarray

    with _netcdf(path) as found:
        return xarray.load_dataset(found, engine="h5netcdf").drop_encoding()


def save_groups(datasets: Mapping[str, xarray.Dataset], path: str | Path) -> None:
    """Write several datasets to one netCDF file, a group each.

    Args:
        datasets: dataset by group name.
        path: the file, usually `.nc`; replaced if it is there.

    Raises:
        ValueError: if there is none, a name is empty or holds a slash, or `path` cannot be a file.
    """
    if not datasets:
        raise ValueError("`save_groups` got no dataset; give at least one.")
    for name in datasets:
        if not name or "/" in name or name == ".":
            raise ValueError(f"{name!r} is no group name; give one without a slash.")
    import xarray

    tree = xarray.DataTree.from_dict({name: _storable(dataset) for name, dataset in datasets.items()})
    with replace_file(path) as temporary:
        tree.to_netcdf(temporary, engine="h5netcdf")


def load_groups(path: str | Path) -> dict[str, xarray.Dataset]:
    """Read the datasets that `save_groups` wrote by group name, in that order, into memory; the file is closed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not netCDF, or has no groups.
    """
    import xarray

    with _netcdf(path) as found, closing(xarray.open_datatree(found, engine="h5netcdf")) as tree:
        groups = {name: tree[name].to_dataset().load().drop_encoding() for name in sorted(tree.children)}
    if not groups:
        raise ValueError(f"{path} has no groups; read it with `load`.")
    return groups


@contextmanager
def _netcdf(path: str | Path) -> Iterator[Path]:
    """Turn what HDF5 says of a missing or foreign file into one clear line."""
    found = Path(path).expanduser()
    if not found.exists():
        raise FileNotFoundError(f"{path} does not exist; check the spelling and the folder.")
    try:
        yield found
    # h5py raises OSError for no HDF5 file, h5netcdf and xarray several kinds for HDF5 that is no netCDF.
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise ValueError(f"{path} is not a netCDF file that can be read ({error}).") from error


def _storable(dataset: xarray.Dataset) -> xarray.Dataset:
    """Return a copy with numpy data, and attributes that netCDF has a type for."""
    copy = dataset.as_numpy().copy(deep=False)
    copy.attrs = {key: _attribute(value) for key, value in dataset.attrs.items()}
    for variable in copy.variables.values():
        variable.attrs = {key: _attribute(value) for key, value in variable.attrs.items()}
    return copy


def _attribute(value: Any) -> Any:
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, Mapping) or dataclasses.is_dataclass(value):
        return json.dumps(configuration(value))
    array = np.asarray(value)
    if array.dtype == bool:
        return array.astype(np.int8)
    return array if hasattr(value, "dtype") else value
