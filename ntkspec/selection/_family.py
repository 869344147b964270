"""Families of mappings, each a curve that one number runs along: the space of a search over mappings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ntkspec import mapping
from ntkspec.mapping import FourierMapping

__all__ = ["FAMILIES", "Family", "family"]

#: Ends of a search over scales, relative to the highest frequency that the points resolve, and number of scales.
LOWEST_SHARE, HIGHEST_SHARE, NUM_SCALES = 1 / 160, 1.0, 12


@dataclass(frozen=True)
class Family:
    """Mappings that differ in one number.

    Attributes:
        name: name, as `ntkspec.design` takes it.
        parameter: name of the number: "scale" of a distribution of frequencies, or another word.
        meaning: meaning of the number.
        units: units of the number.
        build: mapping of (dim, num_frequencies, value, seed). Sampled frequencies have a = 1, as in the paper's images:
            |γ|² = m keeps the network's outputs of order one. With Σ a² = 1 they are √m times smaller than the signal,
            and to reach it the weights must leave the lazy regime. A power law has Σ a² = 1, as in the paper.
        call: the same mapping as a call in Python, of dim, m, value and seed.
        draw: lines in NumPy that make its frequencies B (m, d) and amplitudes a (m,), likewise.
        values: numbers to try by default, from the highest frequency that the points resolve.
        logarithmic: whether equal steps of the search are equal ratios of the number.
        least: smallest number of a search, from the lowest frequency that turns enough over the points to be more than
            a linear function.
    """

    name: str
    parameter: str
    meaning: str
    units: str
    build: Callable[[int, int, float, int], FourierMapping]
    call: str
    draw: str
    values: Callable[[float], np.ndarray]
    logarithmic: bool
    least: Callable[[float], float]

    def position(self, value: np.ndarray) -> np.ndarray:
        """Positions of numbers on the axis of the search, and of its plots."""
        return np.log(value) if self.logarithmic else np.asarray(value, dtype=float)

    def value_at(self, position: float) -> float:
        """Return the inverse of `position`."""
        return float(np.exp(position)) if self.logarithmic else float(position)


def _sampled(name: str, draw: Callable[..., FourierMapping], meaning: str, numbers: str) -> Family:
    def build(dim: int, num_frequencies: int, value: float, seed: int) -> FourierMapping:
        return draw(dim, num_frequencies, value, seed=seed, normalize=False)

    return Family(
        name=name,
        parameter="scale",
        meaning=meaning,
        units="cycles per unit",
        build=build,
        call=f"ns.mapping.{name}({{dim}}, {{m}}, scale={{value}}, seed={{seed}}, normalize=False)",
        draw=f"B = {{value}} * np.random.default_rng({{seed}}).{numbers}  # cycles per unit\na = np.ones({{m}})",
        values=lambda highest: highest * np.geomspace(LOWEST_SHARE, HIGHEST_SHARE, NUM_SCALES),
        logarithmic=True,
        least=float,
    )


def _power_law(dim: int, num_frequencies: int, value: float, _seed: int) -> FourierMapping:
    if dim != 1:
        raise ValueError(f"the power law is a family of one coordinate; got {dim}: take 'gaussian' or 'positional'")
    return mapping.power_law(num_frequencies, value)


FAMILIES = {
    one.name: one
    for one in (
        _sampled(
            "gaussian", mapping.gaussian, "standard deviation of the frequencies", "standard_normal(({m}, {dim}))"
        ),
        _sampled("laplace", mapping.laplace, "mean |frequency| of an axis", "laplace(size=({m}, {dim}))"),
        _sampled("uniform", mapping.uniform, "highest |frequency| of an axis", "uniform(-1, 1, ({m}, {dim}))"),
        Family(
            name="positional",
            parameter="log2_max",
            meaning="log2 of the highest frequency plus one",
            units="",
            build=lambda dim, num_frequencies, value, _seed: mapping.positional(
                dim, num_frequencies, value, normalize=False
            ),
            call="ns.mapping.positional({dim}, {m}, log2_max={value}, normalize=False)",
            draw="B = np.kron(np.eye({dim}), (2.0 ** ({value} * np.arange({m} // {dim}) / ({m} // {dim} - 1)) - 1)"
            "[:, None])  # cycles per unit\na = np.ones(len(B))",
            values=lambda highest: np.linspace(1, max(2.0, np.log2(4 * highest + 1)), 10),
            logarithmic=False,
            least=lambda _: 0.0,
        ),
        Family(
            name="power_law",
            parameter="p",
            meaning="decay p of the amplitudes",
            units="",
            build=_power_law,
            call="ns.mapping.power_law({m}, p={value})",
            draw="B = np.arange(1.0, {m} + 1)[:, None]  # cycles per unit\na = B[:, 0] ** -{value}\n"
            "a /= np.linalg.norm(a)",
            values=lambda _: np.linspace(0, 2, 9),
            logarithmic=False,
            least=lambda _: -np.inf,
        ),
    )
}
"""Every family of a search, by name."""


def family(name: str) -> Family:
    """Return the family of a name.

    Raises:
        ValueError: if there is none; the message lists those there are.
    """
    if name not in FAMILIES:
        raise ValueError(f"family={name!r}; expected one of {', '.join(FAMILIES)}")
    return FAMILIES[name]
