"""Settings as plain records: the command line's options, a notebook's arguments and what a result remembers.

A leaf that imports no numerics, so that ``ntkspec --help`` answers at once; `build` makes the objects.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from ntkspec.training import Training

if TYPE_CHECKING:
    from ntkspec.kernel import MLP

__all__ = ["MappingOptions", "NetworkConfig", "StudyConfig", "Training"]


@dataclass(frozen=True)
class NetworkConfig:
    """The network behind the mapping."""

    depth: int = 3
    """Hidden layers."""
    activation: str | None = None
    """Activation of the hidden layers: relu, gelu, tanh, sin, siren and others; by default relu, or siren behind the
    mapping siren."""
    W_std: float | None = None
    """Standard deviation of the weights, before 1/sqrt(fan-in); by default sqrt(2), or sqrt(2)/omega_0 of siren."""
    b_std: float = 0.0
    """Standard deviation of the biases."""
    parametrization: Literal["ntk", "standard"] = "ntk"
    """Where the 1/sqrt(fan-in) stands: in the forward pass (ntk) or in the initial weights (standard)."""
    width: int = 512
    """Units in each hidden layer of the finite network."""

    def build(self) -> MLP:
        """Return the network, infinite and finite."""
        from ntkspec.kernel import MLP

        return MLP(**asdict(self.settled()))

    def settled(self, activation: str = "relu") -> NetworkConfig:
        """Return the same with what was left open."""
        from ntkspec.kernel.activation import W_STDS

        name = self.activation or activation
        W_std = W_STDS.get(name, 2**0.5) if self.W_std is None else self.W_std
        return replace(self, activation=name, W_std=W_std)


@dataclass(frozen=True)
class MappingOptions:
    """Options of some families of mappings, refused by the others; several numbers are compared side by side."""

    log2_max: tuple[float, ...] = ()
    """positional: log2 of the highest frequency plus one; by default what the points resolve."""
    levels: tuple[int, ...] = ()
    """nerf and tiny-cuda-nn: octaves of each axis; by default 10 and 12."""
    omega_0: tuple[float, ...] = ()
    """siren: omega_0 of its first layer; by default 30."""
    decay: tuple[float, ...] = ()
    """power_law: decay of the amplitudes; by default 1."""
    max_frequency: tuple[float, ...] = ()
    """bacon: samples per unit that its layers share; by default those of the signal."""
    hidden_layers: int | None = None
    """bacon: layers that are multiplied after the first; by default 3."""
    range: tuple[float, float] | None = None
    """nerf, tiny-cuda-nn, siren, bacon, tancik, none: what the code sees at the ends of the unit, such as -1 1."""
    pi: bool = False
    """nerf and tancik: the phase of a frequency f at p is pi f p, as in nerf's paper."""
    two_pi: bool = False
    """nerf and tancik: it is 2 pi f p, as tancik has it."""
    radians: bool = False
    """nerf and tancik: it is f p, as in nerf's code."""

    def given(self, scales: tuple[float, ...], num_frequencies: int) -> dict[str, Any]:
        """Return what was named of these options and of the two that most families take."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}
        found |= {"scales": scales} if scales else {}
        return found | ({"num_frequencies": num_frequencies} if num_frequencies != 256 else {})


@dataclass(frozen=True)
class StudyConfig:
    """What is asked of a signal."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The network behind the mapping."""
    scales: tuple[float, ...] = ()
    """gaussian, laplace, uniform, tancik: widths of the law of frequencies, cycles per unit; by default three that suit
    the training points: 1/32, 1/8 and 1/3 of the highest frequency they can tell."""
    num_frequencies: int = 256
    """Frequencies of a mapping without levels."""
    learning_rate: float | None = None
    """Learning rate of half the summed squares; by default half the stability limit of each kernel."""
    seed: int = 0
    """Seed of the frequencies and of the first network."""
    mapping: str = "gaussian"
    """gaussian, laplace, uniform, positional, power_law, nerf, tiny-cuda-nn, siren, bacon, tancik, basic, none, or a
    .json file with "frequencies" and "amplitudes"."""
    options: MappingOptions = field(default_factory=MappingOptions)
    """Options of the mapping."""
