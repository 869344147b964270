"""What the commands share: their common options, early refusals, and what they write."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    import xarray as xr

    from ntkspec.config import StudyConfig
    from ntkspec.dynamics import Dynamics, Loss
    from ntkspec.study import Problem
    from ntkspec.task import Task

__all__ = ["AsJson", "Signal", "as_options", "check_early", "keep", "plain", "problems"]

Signal = Annotated[
    Path | None,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="[SIGNAL]", help="An image, or a 1-D signal as .npy or .wav; an astronaut if left out."),
]
AsJson = Annotated[bool, tyro.conf.FlagCreatePairsOff]


#: What advice says to people who write Python, and to those at the command line.
OPTIONS = {
    "resume='previous'": "--resume-previous",
    "resume=True": "--resume",
    "centered=False": "--no-centered",
    "or for no field_shape": "or for a smaller signal (--size, --length)",
    "or None for all": "or leave it out for all",
    "take MLP(..., parametrization='standard', width=...)": "take --parametrization standard",
    "take MLP(..., activation='siren')": "take --activation siren",
    "or init='network'": "or --init network",
    "parametrization='ntk'": "--parametrization ntk",
    "matmul_precision='bfloat16'": "--matmul-precision bfloat16",
    "dtype='float32'": "--dtype float32",
    "dtype='float64'": "--dtype float64",
    "a batch_size below": "a --batch-size below",
    "take output='linear' with loss='sum'": "take --output linear with --loss sum",
    "give learning_rate=...": "give --learning-rate",
    "; ns.dynamics.max_learning_rate(K, loss=...) is the kernel's own": "",
    "controls (ntkspec.validation.explain)": "controls (--explain)",
    "train wider ones (widths=...)": "train wider ones (ntkspec.validation.width_law, in Python)",
}


def as_options(message: str) -> str:
    """Advice on arguments of Python as that on options."""
    for argument, option in OPTIONS.items():
        message = message.replace(argument, option)
    return message


def check_early(command: Any) -> None:
    """Refuse what can be refused before any work."""
    from ntkspec.checks import check_seed, check_sizes, check_steps
    from ntkspec.record import check_writable

    if command.out is not None:
        check_writable(command.out)
    names = ("seeds", "num_modes", "size", "length")
    check_sizes(**{name: getattr(command, name) for name in names if hasattr(command, name)})
    check_seed(getattr(getattr(command, "study", command), "seed", 0))
    part = getattr(command, "steps_to", None)
    if part is not None and not 0 < part < 1:
        raise ValueError(f"steps_to={part}; expected between 0 and 1, such as 0.1: the part still to be learned")
    if getattr(command, "steps", ()):
        check_steps(command.steps)


def problems(
    command: Any,
    config: StudyConfig | None = None,
    loss: Loss = "sum",
    prepared: Callable[[Task], Task] = lambda chosen: chosen,
    of: Dynamics | None = None,
) -> tuple[Task, dict[float, Problem]]:
    """The signal that a command was given, as it is prepared, and its problem at each scale.

    Args:
        command: with its signal and sizes.
        config: None is the command's own.
        loss: of the problems.
        prepared: makes of the signal what is to be learned.
        of: dynamics that a given learning rate must be stable for; gradient descent where None.
    """
    from ntkspec import study, task

    check_early(command)
    loaded = task.load(command.signal, max_size=command.size, max_length=command.length, white=command.white)
    chosen = prepared(loaded)
    return chosen, study.problems(chosen, command.study if config is None else config, loss, of)


def keep(out: Path | None, name: str, dataset: xr.Dataset, draw: Any) -> list[str]:
    """Write a result and its picture into a directory, each by rename; nothing where none was asked for."""
    if out is None:
        return []
    from ntkspec import record

    picture, table = out / f"{name}.png", out / f"{name}.nc"
    with record.replace_file(picture) as temporary:
        draw().figure.savefig(temporary, dpi=150, bbox_inches="tight")
        record.save(dataset, table)
    return [str(table), str(picture)]


def plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
