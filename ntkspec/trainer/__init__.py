"""Finite networks, trained to check what theory predicts."""

from ntkspec.trainer._checkpoint import Checkpoints
from ntkspec.trainer._model import PointLoss
from ntkspec.trainer._observer import LookingBack, Observe
from ntkspec.trainer._optimizer import Optimizer, optimizer
from ntkspec.trainer._scales import train_scales
from ntkspec.trainer._train import require_trainable, stability_limit, train

__all__ = [
    "Checkpoints",
    "LookingBack",
    "Observe",
    "Optimizer",
    "PointLoss",
    "optimizer",
    "require_trainable",
    "stability_limit",
    "train",
    "train_scales",
]
