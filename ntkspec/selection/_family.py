"""Families of mappings, each a curve that one number runs along: what a search over mappings is a search in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ntkspec import mapping
from ntkspec.mapping import FourierMapping

__all__ = ["FAMILIES", "Family", "family"]

#: Of the highest frequency that the training points can tell, where a search begins and ends, in how many scales.
LOWEST_SHARE, HIGHEST_SHARE, NUM_SCALES = 1 / 160, 1.0, 12


@dataclass(frozen=True)
class Family:
    """Mappings that differ in one number, the `scale`.

    Attributes:
        name: by which it is asked for.
        build: (dim, num_frequencies, scale, seed) to the mapping, with a = 1 on sampled frequencies, as a network
            behind them needs it to stay lazy (|γ|² = m), and Σ a² = 1 on a power law, as in the paper.
        scales: the scales that are tried where none are given, from the highest frequency that the points can tell.
        meaning: of the scale, in words.
        units: of the scale.
        logarithmic: whether equal steps of the search are equal ratios of the scale.
        least: the scale that a search goes down to at most, from the lowest frequency that turns enough over the points
            to be more than a linear function.
    """

    name: str
    build: Callable[[int, int, float, int], FourierMapping]
    scales: Callable[[float], np.ndarray]
    meaning: str
    units: str
    logarithmic: bool
    least: Callable[[float], float]

    def position(self, scale: np.ndarray) -> np.ndarray:
        """Where scales lie on the axis of the search, and of its plots."""
        return np.log(scale) if self.logarithmic else np.asarray(scale, dtype=float)

    def scale_at(self, position: float) -> float:
        """Return the inverse of `position`."""
        return float(np.exp(position)) if self.logarithmic else float(position)


def _ratios(highest: float) -> np.ndarray:
    return highest * np.geomspace(LOWEST_SHARE, HIGHEST_SHARE, NUM_SCALES)


def _sampled(name: str, draw: Callable[..., FourierMapping], meaning: str) -> Family:
    def build(dim: int, num_frequencies: int, scale: float, seed: int) -> FourierMapping:
        return draw(dim, num_frequencies, scale, seed=seed, normalize=False)

    return Family(name, build, _ratios, meaning, "cycles per unit", logarithmic=True, least=float)


def _positional(dim: int, num_frequencies: int, scale: float, _seed: int) -> FourierMapping:
    return mapping.positional(dim, num_frequencies, scale, normalize=False)


def _power_law(dim: int, num_frequencies: int, scale: float, _seed: int) -> FourierMapping:
    if dim != 1:
        raise ValueError(f"the power law is a family of one coordinate; got {dim}: take 'gaussian' or 'positional'")
    return mapping.power_law(num_frequencies, scale)


def _octaves(highest: float) -> np.ndarray:
    return np.linspace(1, max(2.0, np.log2(4 * highest + 1)), 10)


def _no_less_than(scale: float) -> Callable[[float], float]:
    return lambda _: scale


def _decays(_: float) -> np.ndarray:
    return np.linspace(0, 2, 9)


FAMILIES = {
    one.name: one
    for one in (
        _sampled("gaussian", mapping.gaussian, "standard deviation of the frequencies"),
        _sampled("laplace", mapping.laplace, "mean |frequency| of an axis"),
        _sampled("uniform", mapping.uniform, "highest |frequency| of an axis"),
        Family(
            "positional", _positional, _octaves, "log2 of the highest frequency plus one", "", False, _no_less_than(0)
        ),
        Family("power_law", _power_law, _decays, "decay p of the amplitudes", "", False, _no_less_than(-np.inf)),
    )
}
"""Every family that a search knows, by name."""


def family(name: str) -> Family:
    """Return the family of a name.

    Raises:
        ValueError: if there is none; the message lists those there are.
    """
    if name not in FAMILIES:
        raise ValueError(f"family={name!r}; expected of {', '.join(FAMILIES)}")
    return FAMILIES[name]
