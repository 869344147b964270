"""Checkpoints: all that a run needs to go on to the same bits, its configuration included; and Ctrl-C, which saves."""

from __future__ import annotations

import json
import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ntkspec.checks import Refused, check_positive, check_sizes, shown
from ntkspec.record import check_writable, load, replace_file, save


@dataclass
class Interruption:
    """Whether Ctrl-C was pressed."""

    asked: bool = False

    def obey(self, saved: str) -> None:
        """Stop, if that was asked for; `saved` says where to go on."""
        if self.asked:
            raise KeyboardInterrupt(saved)


@contextmanager
def postponed(wanted: bool) -> Iterator[Interruption]:
    """Note the first Ctrl-C instead of raising it; the second raises at once.

    Where somebody else handles the signal, or in a thread that cannot, all stays as it is.
    """
    interruption = Interruption()
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not (wanted and main and before is signal.default_int_handler):
        yield interruption
        return

    def note(_number: int, _frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        interruption.asked = True

    signal.signal(signal.SIGINT, note)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, before)
    interruption.obey("saved at its end")


FORMAT = "ntkspec trainer 2"
SUFFIX = ".safetensors"
#: Checkpoints in a folder: the newest, and the one before it.
KEPT = 2


@dataclass(frozen=True)
class Keep:
    """Where and how often a run is saved, and whether it goes on from there; the two newest checkpoints are kept.

    Attributes:
        folder: of its own for each run; it is made if it is not there. None keeps nothing.
        every: save after each so many steps; None leaves it to the time.
        minutes: save when so many have passed since the last time; None leaves it to the steps.
        resume: True goes on from the newest checkpoint, or begins where there is none; "previous" takes the one before
            it where that one cannot be used.

    Raises:
        ValueError: if a number is not positive, or the folder has no name.
        TypeError: if the folder is no name.

    Example:
        >>> Keep("run", every=1000).within("networks").folder.as_posix()
        'run/networks'
    """

    folder: str | Path | None = None
    every: int | None = None
    minutes: float | None = 10.0
    resume: bool | Literal["previous"] = False

    @classmethod
    def of(cls, checkpoint: Keep | str | Path | None, resume: bool | str = False) -> Keep:
        """Return what the arguments `checkpoint` and `resume` of `ntkspec.trainer.train` ask for."""
        if isinstance(checkpoint, cls):
            return checkpoint if resume is False else replace(checkpoint, resume=resume)  # type: ignore[arg-type]
        return cls(checkpoint, resume=resume)  # type: ignore[arg-type]  # it is checked

    def within(self, name: str) -> Keep:
        """Return the same in a folder of its own inside of this one, for one run of several."""
        return self if self.folder is None else replace(self, folder=Path(self.folder) / name)

    def require_usable(self, *, below: bool = False) -> None:
        """Refuse a folder that cannot be written or that a new run would write over; `below` looks inside of it, too.

        Raises:
            ValueError: if it holds a checkpoint or cannot be written.
        """
        if self.folder is None:
            return
        check_writable(self.folder)
        top = Path(self.folder).expanduser()
        inner = sorted(path for path in top.rglob("*") if path.is_dir()) if below else []
        for folder in [] if self.resume else [top, *inner]:
            if checkpoints := files(folder):
                held = f"{folder} holds a checkpoint, {checkpoints[0].name}"
                raise Refused(held + "; {resume} goes on from it, another folder begins anew", resume=True)

    def __post_init__(self) -> None:
        folder, named = self.folder, isinstance(self.folder, str | os.PathLike)
        if (not named and folder is not None) or not str(folder):
            kind = ValueError if named else TypeError
            raise kind(f"checkpoint={shown(folder)}; expected the name of a folder, such as 'run'")
        if not isinstance(self.resume, bool | np.bool_ | str) or self.resume not in (False, True, "previous"):
            raise ValueError(f"resume={shown(self.resume)}; expected True, False or 'previous'")
        if folder is None and self.resume:
            message = "{resume} needs the folder of the checkpoints; give {checkpoint}"
            raise Refused(message, resume=self.resume, checkpoint=...)
        if self.every is not None:
            check_sizes(every=self.every)
        if self.minutes is not None:
            check_positive("minutes", self.minutes, "such as 10, or None")


NO_KEEP = Keep()


@dataclass
class Saved:
    """A checkpoint: arrays by name, the configuration of the run, its progress (step, part and the like), its file."""

    arrays: dict[str, np.ndarray]
    configuration: dict[str, Any]
    progress: dict[str, Any]
    path: Path = field(default_factory=Path)

    @property
    def seen(self) -> int:
        """The last step that some network of the run has taken: of several parts, those before have ended."""
        return int(self.progress["last"] if self.progress["part"] else self.progress["step"])


@dataclass
class Clock:
    """When the next checkpoint is due."""

    keep: Keep
    interruption: Interruption
    step: int = 0
    moment: float = field(default_factory=time.monotonic)
    path: Path | None = None

    def due(self, step: int) -> bool:
        """Whether a checkpoint is due."""
        every, minutes = self.keep.every, self.keep.minutes
        by_time = minutes is not None and time.monotonic() - self.moment >= 60 * minutes
        by_step = every is not None and step % every == 0
        return step != self.step and (by_time or by_step or self.interruption.asked)

    def until_due(self, step: int) -> float:
        """Return the steps to the next one that is due by its number."""
        every = self.keep.every
        return math.inf if every is None else every - step % every

    def saved(self, step: int, path: Path) -> None:
        """Begin a new interval after a checkpoint."""
        self.step, self.moment, self.path = step, time.monotonic(), path


def write(folder: str | Path, saved: Saved) -> Path:
    """Write a checkpoint into the folder of a run, whole or not at all; the two newest are kept."""
    import safetensors.numpy

    number = f"{saved.progress['part']:04d}-{saved.progress['step']:010d}"
    path = Path(folder).expanduser() / f"checkpoint-{number}{SUFFIX}"
    arrays = {name: np.ascontiguousarray(array) for name, array in saved.arrays.items()}
    configuration = json.dumps(saved.configuration, ensure_ascii=False)
    metadata = {"format": FORMAT, "configuration": configuration, "progress": json.dumps(saved.progress)}
    # As bytes: a file that safetensors writes is for its owner alone, and its temporary name is one of its own.
    with replace_file(path) as temporary, open(temporary, "wb") as file:
        file.write(safetensors.numpy.save(arrays, metadata))
        file.flush()
        os.fsync(file.fileno())
    # What a killed process was writing, for no process but this one writes here; and checkpoints before the last.
    for old in [*path.parent.glob(f".checkpoint-*{SUFFIX}"), *files(folder)[KEPT:]]:
        old.unlink(missing_ok=True)
    return path


def files(folder: str | Path) -> list[Path]:
    """Return the checkpoints in a folder, newest first."""
    return sorted(Path(folder).expanduser().glob(f"checkpoint-*{SUFFIX}"), reverse=True)


def newest(folder: str | Path, configuration: Mapping[str, Any], *, previous: bool) -> Saved | None:
    """Return the newest checkpoint of the run of a configuration, None if there is none.

    With `previous` it is the one before where the newest cannot be read or is another run's.
    """
    problems = []
    for path in files(folder):
        try:
            saved = _read(path)
            _require_same(saved, configuration)
        except ValueError as error:
            problems.append(str(error))
            if not previous:
                break
        else:
            return saved
    if not problems:
        return None
    reasons, others = "; ".join(problems), [] if previous else files(folder)[len(problems) :]
    before = f" {{resume}} takes the one before it, {others[0].name};" if others else ""
    raise Refused(f"{reasons};{before} an empty folder begins anew", resume="previous")


def _read(path: Path) -> Saved:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"checkpoint {path.name} is cut short or damaged ({error})") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path.name} is no checkpoint of a training run: its format is {metadata.get('format')!r}")
    try:
        configuration, progress = (json.loads(metadata[name]) for name in ("configuration", "progress"))
    except (KeyError, ValueError) as error:
        missing = f"it has no {error.args[0]}" if isinstance(error, KeyError) else f"its JSON is broken ({error})"
        raise ValueError(f"checkpoint {path.name} does not describe its run: {missing}") from error
    return Saved(arrays, configuration, progress, path)


def _require_same(saved: Saved, configuration: Mapping[str, Any]) -> None:
    if changes := list(_differences(saved.configuration, json.loads(json.dumps(configuration)), "")):
        raise ValueError(f"checkpoint {saved.path.name} belongs to another run: {'; '.join(changes[:3])}")


def _differences(ours: Any, theirs: Any, where: str) -> Any:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}):
            yield from _differences(ours.get(key), theirs.get(key), f"{where}.{key}" if where else key)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for i, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(*pair, f"{where}[{i}]")
    elif ours != theirs:
        yield f"{where} was {_short(ours)} and now is {_short(theirs)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def flattened(prefix: str, tree: Any) -> dict[str, np.ndarray]:
    """Return the leaves of a pytree by name; random keys as their numbers."""
    return {
        prefix + jax.tree_util.keystr(path): np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def restored(prefix: str, tree: Any, saved: Saved) -> Any:
    """Return a pytree shaped as `tree` with the leaves of a checkpoint; another version's optimizer may have others."""

    def leaf_of(path: Any, leaf: Any) -> Any:
        name = prefix + jax.tree_util.keystr(path)
        array = saved.arrays.get(name)
        expected = jax.random.key_data(leaf) if _is_key(leaf) else leaf
        if array is None or array.shape != expected.shape or array.dtype != expected.dtype:
            was = "nothing" if array is None else f"{array.dtype} {array.shape}"
            difference = f"{name} is {was}, expected {expected.dtype} {expected.shape}"
            raise ValueError(f"checkpoint {saved.path.name} belongs to another run: {difference}")
        return jax.random.wrap_key_data(jnp.asarray(array)) if _is_key(leaf) else jnp.asarray(array)

    return jax.tree_util.tree_map_with_path(leaf_of, tree)


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def packed(dataset: xr.Dataset) -> np.ndarray:
    """Return a Dataset as the bytes of its netCDF file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "observed.nc"
        save(dataset, path)
        return np.frombuffer(path.read_bytes(), dtype=np.uint8)


def unpacked(content: np.ndarray) -> xr.Dataset:
    """Return the Dataset of such bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "observed.nc"
        path.write_bytes(content.tobytes())
        return load(path)
