"""Families of mappings, each a curve that one number runs along, with the options of each: the one table of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ntkspec import mapping
from ntkspec.checks import Refused, check_sizes

__all__ = ["FAMILIES", "Family", "family", "with_options"]

#: Ends of a search over scales, relative to the highest frequency that the points resolve, and number of scales.
LOWEST_SHARE, HIGHEST_SHARE, NUM_SCALES = 1 / 160, 1.0, 12
#: Shares of that frequency which are compared side by side where no scale is named.
SHARES = (1 / 32, 1 / 8, 1 / 3)
#: Cycles per unit of a phase that the code of other people writes with 2π, with π, or without either.
TURNS = {"two_pi": 1.0, "pi": 0.5, "radians": 0.5 / math.pi}

Arguments = dict[str, Any]


def _one(_highest_frequency: float) -> tuple[float, ...]:
    """Return the number of a mapping that leaves none open."""
    return (1.0,)


def _unbounded(_highest_frequency: float) -> float:
    """Return the smallest number of a search that has none."""
    return -math.inf


@dataclass(frozen=True)
class Family:
    """Mappings that differ in one number.

    Attributes:
        name: name, as `ntkspec.design` and the command line take it.
        function, arguments: function in `ntkspec.mapping`, and what it is called with, of (options, dim,
            num_frequencies, value, seed). Frequencies have a = 1, as in the paper's images: |γ|² = m keeps outputs
            of order one. With Σ a² = 1 they are √m times smaller than the signal, and to reach it the weights
            must leave the lazy regime. A power law has Σ a² = 1, as in the paper.
        values, default: numbers to search, and those to compare side by side, where none are named, of the highest
            frequency that the points resolve.
        parameter, meaning, units: name, meaning and unit of the number; empty for a mapping that leaves none open.
        option, takes: option of the command line that lists numbers, and the other options.
        draw: lines in NumPy that make frequencies B (m, d) and amplitudes a (m,) from the arguments; may be empty.
        axis: "log", where equal steps of a search are equal ratios of the number, "linear", or "whole" for counts.
        least: smallest number of a search, from the lowest frequency that is more than a linear function of the points.
        activation: activation behind it where a person names none.
        given, options: numbers and other options that were named.
    """

    name: str
    function: str
    arguments: Callable[[Arguments, int, int, float, int], Arguments]
    values: Callable[[float], Sequence[float] | np.ndarray] = _one
    parameter: str = ""
    option: str = ""
    meaning: str = "mapping"
    units: str = ""
    default: Callable[[float], Sequence[float]] = _one
    takes: tuple[str, ...] = ()
    draw: str = ""
    axis: str = "linear"
    least: Callable[[float], float] = _unbounded
    activation: str = "relu"
    given: tuple[float, ...] = ()
    options: Arguments = field(default_factory=dict)

    def build(self, dim: int, num_frequencies: int, value: float, seed: int) -> mapping.Mapping:
        """Return the mapping of a number."""
        built: mapping.Mapping = getattr(mapping, self.function)(
            **self.arguments(self.options, dim, num_frequencies, value, seed)
        )
        return built

    def call(self, dim: int, num_frequencies: int, value: float, seed: int) -> str:
        """Return the same mapping as a call in Python."""
        arguments = self.arguments(self.options, dim, num_frequencies, value, seed)
        return f"ns.mapping.{self.function}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"

    def position(self, value: np.ndarray) -> np.ndarray:
        """Positions of numbers on the axis of the search, and of its plots."""
        return np.log(value) if self.axis == "log" else np.asarray(value, dtype=float)

    def value_at(self, position: float) -> float:
        """Return the inverse of `position`."""
        if self.axis == "log":
            return float(np.exp(position))
        return float(round(position)) if self.axis == "whole" else float(position)

    def label(self, value: float) -> str:
        """Return a number with its name, or the mapping's name where nothing is left open."""
        return f"{self.parameter} {value:.6g}" if self.parameter else f"mapping {self.name}"


def _sampled(name: str, meaning: str, numbers: str) -> Family:
    def arguments(o: Arguments, dim: int, m: int, value: float, seed: int) -> Arguments:
        scale = value * float(np.diff(o.get("range", (0, 1)))[0]) * TURNS[o.get("turn", "two_pi")]
        return {"dim": dim, "num_frequencies": m, "scale": scale, "seed": seed, "normalize": False}

    return Family(
        name,
        name,
        arguments,
        parameter="scale",
        option="scales",
        meaning=meaning,
        units="cycles per unit",
        takes=("num_frequencies",),
        draw=f"B = {{scale}} * np.random.default_rng({{seed}}).{numbers}  # cycles per unit\n"
        "a = np.ones({num_frequencies})",
        values=lambda highest: highest * np.geomspace(LOWEST_SHARE, HIGHEST_SHARE, NUM_SCALES),
        default=lambda highest: [float(f"{share * highest:.2g}") for share in SHARES],
        axis="log",
        least=float,
    )


def _octaves(name: str, function: str, low: float, levels: int, over_pi: str = "") -> Family:
    def arguments(o: Arguments, dim: int, _m: int, value: float, _seed: int) -> Arguments:
        check_sizes(levels=round(value))
        ends = np.array(o.get("range", (low, 1.0)))
        turn = o.get("turn", "pi")
        # 2πp is π of coordinates that are twice as long.
        found = dict(zip(("low", "high"), (ends * (2 if turn == "two_pi" else 1)).tolist(), strict=True))
        convention = {"include_pi": turn != "radians"} if over_pi else {}
        return {"dim": dim, "num_frequencies": round(value), **convention, **found, "normalize": False}

    return Family(
        name,
        function,
        arguments,
        parameter="levels",
        option="levels",
        meaning="octaves of each axis",
        takes=("range", *(("turn",) if over_pi else ())),
        draw="B = np.kron(np.eye({dim}), 2.0 ** np.arange({num_frequencies})[:, None]) * ({high} - {low}) / 2"
        f"{over_pi}  # cycles per unit\na = np.ones(len(B))",
        values=lambda highest: np.arange(1, max(2, round(math.log2(highest) + 1)) + 2),
        default=lambda _: [levels],
        axis="whole",
        least=lambda _: 0.5,
    )


def _siren(o: Arguments, dim: int, m: int, value: float, seed: int) -> Arguments:
    low, high = o.get("range", (-1.0, 1.0))
    return {"dim": dim, "num_frequencies": m, "omega_0": value, "low": low, "high": high, "seed": seed}


def _bacon(o: Arguments, dim: int, m: int, value: float, seed: int) -> Arguments:
    low, high = o.get("range", (-0.5, 0.5))
    found = {"dim": dim, "num_frequencies": m, "max_frequency": value, "hidden_layers": o.get("hidden_layers", 3)}
    return {**found, "low": low, "high": high, "seed": seed, "normalize": False}


def _power_law(_o: Arguments, dim: int, m: int, value: float, _seed: int) -> Arguments:
    if dim != 1:
        raise ValueError(f"the power law is a family of one coordinate; got {dim}: take 'gaussian' or 'positional'")
    return {"num_frequencies": m, "p": value}


def _identity(o: Arguments, dim: int, _m: int, _value: float, _seed: int) -> Arguments:
    low, high = o.get("range", (0.0, 1.0))
    return {"dim": dim, "low": low, "high": high}


_GAUSSIAN = _sampled("gaussian", "standard deviation of the frequencies", "standard_normal(({num_frequencies}, {dim}))")

FAMILIES = {
    one.name: one
    for one in (
        _GAUSSIAN,
        _sampled("laplace", "mean |frequency| of an axis", "laplace(size=({num_frequencies}, {dim}))"),
        _sampled("uniform", "highest |frequency| of an axis", "uniform(-1, 1, ({num_frequencies}, {dim}))"),
        Family(
            "positional",
            "positional",
            lambda _o, dim, m, value, _seed: {
                "dim": dim,
                "num_frequencies": m,
                "log2_max": value,
                "normalize": False,
            },
            parameter="log2_max",
            option="log2_max",
            meaning="log2 of the highest frequency plus one",
            takes=("num_frequencies",),
            draw="per_axis = {num_frequencies} // {dim}\n"
            "B = np.kron(np.eye({dim}), (2.0 ** ({log2_max} * np.arange(per_axis) / (per_axis - 1)) - 1)"
            "[:, None])  # cycles per unit\na = np.ones(len(B))",
            values=lambda highest: np.linspace(1, max(2.0, np.log2(4 * highest + 1)), 10),
            default=lambda highest: [float(f"{math.log2(highest + 1):.2g}")],
            least=lambda _: 0.0,
        ),
        Family(
            "power_law",
            "power_law",
            _power_law,
            parameter="p",
            option="decay",
            meaning="decay p of the amplitudes",
            takes=("num_frequencies",),
            draw="B = np.arange(1.0, {num_frequencies} + 1)[:, None]  # cycles per unit\na = B[:, 0] ** -{p}\n"
            "a /= np.linalg.norm(a)",
            values=lambda _: np.linspace(0, 2, 9),
        ),
        _octaves("nerf", "nerf", -1.0, 10, " / (1 if {include_pi} else np.pi)"),
        _octaves("tiny-cuda-nn", "tiny_cuda_nn", 0.0, 12),
        Family(
            "siren",
            "siren_first_layer",
            _siren,
            parameter="omega_0",
            option="omega_0",
            meaning="ω₀ of SIREN's first layer",
            units="radians",
            takes=("num_frequencies", "range"),
            draw="B = {omega_0} * ({high} - {low}) / (2 * np.pi) * np.random.default_rng({seed}).uniform("
            "-1 / {dim}, 1 / {dim}, ({num_frequencies}, {dim}))  # cycles per unit\na = np.ones({num_frequencies})",
            # Over two units, ω₀ reaches ω₀/π cycles per unit in one dimension, and half of that in two.
            values=lambda highest: 2 * math.pi * highest * np.geomspace(LOWEST_SHARE, HIGHEST_SHARE, NUM_SCALES),
            default=lambda _: [30.0],
            axis="log",
            least=float,
            activation="siren",
        ),
        Family(
            "bacon",
            "bacon",
            _bacon,
            parameter="max_frequency",
            option="max_frequency",
            meaning="samples per unit that BACON's layers share",
            units="per unit",
            takes=("num_frequencies", "range", "hidden_layers"),
            draw="top = round({max_frequency} / (2 * ({hidden_layers} + 1)))\n"
            "B = np.random.default_rng({seed}).integers(-top, top + 1, ({num_frequencies}, {dim})) * ({high} - {low})\n"
            "a = np.ones({num_frequencies})",
            values=lambda highest: np.maximum(8 * highest * np.geomspace(LOWEST_SHARE, HIGHEST_SHARE, NUM_SCALES), 8),
            default=lambda highest: [2 * highest],
            axis="log",
            least=lambda _: 8.0,
        ),
        replace(_GAUSSIAN, name="tancik", takes=("num_frequencies", "range", "turn")),
        Family(
            "basic",
            "basic",
            lambda _o, dim, _m, _value, _seed: {"dim": dim, "normalize": False},
            draw="B, a = np.eye({dim}), np.ones({dim})",
        ),
        Family("none", "identity", _identity, takes=("range",)),
    )
}
"""Every family, by name."""


def family(name: str | Family) -> Family:
    """Return the family of a name, or that of a ``.json`` file with `frequencies` (m, d) and `amplitudes` (m).

    Raises:
        ValueError: if there is none; the message lists those there are.
    """
    if isinstance(name, Family):
        return name
    if name.endswith(".json"):
        return _of_file(Path(name).expanduser())
    if name not in FAMILIES:
        raise ValueError(
            f"{name!r} is not a family of mappings; expected one of {', '.join(FAMILIES)}, or a .json file"
        )
    return FAMILIES[name]


def with_options(names: Sequence[str], given: Mapping[str, Any]) -> list[Family]:
    """Return the families of names under the options that each of them takes.

    Args:
        names: as `family` takes them.
        given: options that were named: lists of numbers under the option of a family, "num_frequencies", "range" (low
            and high), "hidden_layers", and one of "pi", "two_pi" and "radians", which are True.

    Raises:
        ValueError: if none of the families takes an option; the message names those that they do take.
    """
    kinds = [family(name) for name in names]
    turns = [name for name in given if name in TURNS]
    if len(turns) > 1:
        raise Refused("{pi}, {two_pi} and {radians} exclude each other; give one", pi=True, two_pi=True, radians=True)
    for option in given:
        if not any(option in _taken(kind) for kind in kinds):
            own = dict.fromkeys(each for kind in kinds for each in _taken(kind))
            what = ", ".join(f"{{{each}}}" for each in own) or "no options"
            message = f"{{{option}}} is not an option of {' or '.join(names)}, which takes {what}"
            raise Refused(message, **dict.fromkeys((option, *own), ...))
    options = {name: value for name, value in given.items() if name not in (*TURNS, "num_frequencies")}
    if turns:
        options["turn"] = turns[0]
    return [
        replace(
            kind,
            given=tuple(sorted(set(options.get(kind.option, ())))),
            options={name: value for name, value in options.items() if name in kind.takes},
        )
        for kind in kinds
    ]


def _taken(kind: Family) -> list[str]:
    """Return the names of the options of a family."""
    each = (kind.option, *kind.takes)
    return [name for taken in each if taken for name in (TURNS if taken == "turn" else (taken,))]


def _of_file(path: Path) -> Family:
    """Return the family of the one mapping of a file."""
    try:
        content = json.loads(path.read_text())
        B = np.array(content["frequencies"], dtype=float)
        a = np.array(content.get("amplitudes", np.ones(len(B))), dtype=float)
        mapping.from_frequencies(B, a, normalize=False)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); check its name") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{path.name} is no mapping ({error}); expected {{"frequencies": [[1], [2.5]], "amplitudes": [1, 0.5]}}, '
            "cycles per unit, one row a frequency"
        ) from None

    def arguments(_o: Arguments, dim: int, _m: int, _value: float, _seed: int) -> Arguments:
        if dim != B.shape[1]:
            raise ValueError(f"{path.name} holds frequencies of {B.shape[1]} coordinates, and the signal has {dim}")
        return {"B": B.tolist(), "a": a.tolist(), "normalize": False}

    return Family(path.name, "from_frequencies", arguments, draw="B, a = np.array({B}), np.array({a})")
