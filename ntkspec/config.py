"""Settings as plain records: the command line's options, a notebook's arguments and what a result remembers.

A leaf that imports no numerics, so that ``ntkspec --help`` answers at once; `build` makes the objects.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from ntkspec.training import Training

if TYPE_CHECKING:
    from ntkspec.kernel import MLP

__all__ = ["NetworkConfig", "StudyConfig", "Training"]


@dataclass(frozen=True)
class NetworkConfig:
    """The network behind the mapping."""

    depth: int = 3
    """Hidden layers."""
    activation: str = "relu"
    """Activation of the hidden layers: relu, gelu, tanh, sin, siren and others."""
    W_std: float = 2**0.5
    """Standard deviation of the weights, before 1/sqrt(fan-in)."""
    b_std: float = 0.0
    """Standard deviation of the biases."""
    parametrization: Literal["ntk", "standard"] = "ntk"
    """Where the 1/sqrt(fan-in) stands: in the forward pass (ntk) or in the initial weights (standard)."""
    width: int = 512
    """Units in each hidden layer of the finite network."""

    def build(self) -> MLP:
        """Return the network, infinite and finite."""
        from ntkspec.kernel import MLP

        return MLP(**asdict(self))


@dataclass(frozen=True)
class StudyConfig:
    """What is asked of a signal."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The network behind the mapping."""
    scales: tuple[float, ...] = ()
    """Standard deviations of the Gaussian frequencies, in cycles per unit; by default three that suit the training
    points: 1/32, 1/8 and 1/3 of the highest frequency they can tell."""
    num_frequencies: int = 256
    """Frequencies of the mapping."""
    learning_rate: float | None = None
    """Learning rate of half the summed squares; by default half the stability limit of each kernel."""
    seed: int = 0
    """Seed of the frequencies and of the first network."""
