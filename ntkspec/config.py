"""Settings as plain records: the command line's options, a notebook's arguments and what a result remembers.

A leaf that imports no numerics, so that ``ntkspec --help`` answers at once; `build` makes the objects.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ntkspec.kernel import MLP
    from ntkspec.trainer import Checkpoints

__all__ = ["CheckpointConfig", "NetworkConfig", "StudyConfig", "TrainingConfig"]


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
        """The network, infinite and finite."""
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


@dataclass(frozen=True)
class TrainingConfig:
    """How finite networks are trained, by the names of `ntkspec.trainer.train`."""

    seeds: int = 4
    """Networks to train."""
    optimizer: str = "gradient_descent"
    """That trains: gradient_descent, heavy_ball, nesterov or any of optax, such as adam; settings as in
    'heavy_ball(momentum=0.5)'. What has no theory is compared with gradient descent all the same, and takes its own
    usual learning rate if none is given."""
    loss: Literal["sum", "mean", "logistic"] = "sum"
    """Half the sum of squares, half their mean, or the logistic loss, of an output that is a sigmoid."""
    output: Literal["linear", "sigmoid"] = "linear"
    """Of the network. With the logistic loss theory knows the sigmoid; of squares the prediction is of a linear one."""
    init: Literal["network", "glorot", "siren"] = "network"
    """How weights start: as the kernel has it, or as JAX's stax or SIREN draw them (with --parametrization standard);
    the prediction stays that of the kernel."""
    centered: bool = True
    """Train f − f_0, which starts from zero as the prediction does; otherwise each network starts from a random
    function of its own, and their mean is compared with the prediction, their spread with the predicted covariance."""
    trainable: tuple[Literal["amplitudes", "frequencies"], ...] = ()
    """What of the mapping is learned along with the network; the prediction is of a fixed one."""
    batch_size: int | None = None
    """Points in a step, drawn anew each time; by default all, as in the prediction."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Of the learning rate: constant, or down to zero at the last step along half a cosine, in the prediction too."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of training; the prediction is always in float64."""
    matmul_precision: Literal["float32", "bfloat16"] = "float32"
    """Of the operands of matrix products in float32 training."""


@dataclass(frozen=True)
class CheckpointConfig:
    """Where and how often training is saved."""

    checkpoint: Path | None = None
    """Directory for checkpoints of everything that is trained. Ctrl-C saves, too."""
    checkpoint_every: int | None = None
    """Save after every so many steps, as well as by the clock."""
    checkpoint_minutes: float = 10.0
    """Save when so many minutes have passed."""
    resume: bool = False
    """Go on from what --checkpoint holds, to the same bits."""
    resume_previous: bool = False
    """The same, from the checkpoint before the newest where that one cannot be used."""

    def build(self) -> Checkpoints | None:
        """Where checkpoints go; None where none are asked for.

        Raises:
            ValueError: if one of the others is given without a directory, or an interval is none.
        """
        from ntkspec.trainer import Checkpoints

        if self.checkpoint is not None:
            return Checkpoints(self.checkpoint, self.checkpoint_every, self.checkpoint_minutes)
        default = CheckpointConfig()
        for name in ("checkpoint_every", "checkpoint_minutes", "resume", "resume_previous"):
            if getattr(self, name) != getattr(default, name):
                raise ValueError(f"{name} needs the directory of the checkpoints: --checkpoint DIR")
        return None

    @property
    def going_on(self) -> bool | Literal["previous"]:
        """`resume` as `ntkspec.trainer.train` takes it."""
        return "previous" if self.resume_previous else self.resume
