"""``ntkspec encoding``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from ntkspec.cli._shared import AsJson
from ntkspec.config import MappingOptions

#: Frequencies that are listed for people, the lowest and those that alias; --json has all of them.
ROWS = 24


@dataclass(frozen=True)
class Encoding:
    """The true frequencies of an encoding in cycles per unit, those that alias on a lattice, and a line to paste."""

    family: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FAMILY")]
    """nerf, tiny-cuda-nn, siren, bacon, tancik, positional, or another family of mappings."""
    samples: tuple[int, ...] = ()
    """Samples on each axis of the unit, one number for all or one for each."""
    dim: int = 1
    """Coordinates."""
    scales: tuple[float, ...] = ()
    """Scale of a family that has one, such as tancik's."""
    num_frequencies: int = 256
    """Frequencies of a family that has no levels."""
    seed: int = 0
    """Seed of the frequencies."""
    options: Annotated[MappingOptions, tyro.conf.arg(name=""), tyro.conf.FlagCreatePairsOff] = field(
        default_factory=MappingOptions
    )
    out: Path | None = None
    """Write the frequencies to this .json file, which --mapping of other commands reads."""
    json: AsJson = False
    """Print the result as one JSON object."""

    def run(self) -> dict[str, Any]:
        """Build the mapping and describe it."""
        from ntkspec import mapping, selection
        from ntkspec.checks import Refused, check_sizes

        check_sizes(dim=self.dim, num_frequencies=self.num_frequencies)
        (kind,) = selection.with_options([self.family], self.options.given(self.scales, self.num_frequencies))
        values = kind.given or tuple(kind.default(min(self.samples, default=128) / 2))
        if len(values) > 1 and kind.given:
            raise Refused(f"{{{kind.option}}} names several mappings; an encoding is one", **{kind.option: values})
        value = values[-1]
        shape = self.samples * self.dim if len(self.samples) == 1 else self.samples
        g = kind.build(self.dim, self.num_frequencies, value, self.seed)
        line = kind.call(self.dim, self.num_frequencies, value, self.seed)
        if not isinstance(g, mapping.FourierMapping):
            raise ValueError(f"{self.family} leaves the coordinates as they are: it has no frequencies to list")
        d = mapping.describe(g, shape or None)
        found = {"frequencies": g.frequencies.tolist(), "amplitudes": g.amplitudes.tolist()}
        if self.out is not None:
            from ntkspec.record import replace_file

            with replace_file(self.out) as temporary:
                temporary.write_text(json.dumps(found))
        on_lattice = ("aliased", "folded_frequency", "aliased_energy")
        return {
            "family": self.family,
            "encoding": kind.label(value),
            **found,
            **({name: d[name].values.tolist() for name in on_lattice} if shape else {}),
            "summary": d.attrs["summary"],
            "line": line,
            "files": [] if self.out is None else [str(self.out)],
        }

    @staticmethod
    def text(result: dict[str, Any]) -> str:
        """Return the frequencies by length, what each passes for, the summary and the line to paste."""
        rows = [f"{result['encoding']}, cycles per unit:"]
        order = sorted(range(len(result["frequencies"])), key=lambda i: sum(b * b for b in result["frequencies"][i]))
        aliased = result.get("aliased", [False] * len(order))
        for i in order[:ROWS] + [i for i in order[ROWS:] if aliased[i]][:ROWS]:
            rows.append(f"    {_vector(result['frequencies'][i])}")
            if aliased[i]:
                rows[-1] += f"   aliases: passes for {_vector(result['folded_frequency'][i]).strip()}"
        rows += [f"    … (--json has all {len(order):,})"] if len(order) > ROWS else []
        return "\n".join(
            [*rows, result["summary"], "", "import ntkspec as ns", f"g = {result['line']}", *result["files"]]
        )


def _vector(values: list[float]) -> str:
    return ", ".join(f"{value:10.6g}" for value in values)
