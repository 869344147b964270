"""Finite networks, trained to check what theory predicts."""

from ntkspec.trainer.checkpoint import Checkpoints
from ntkspec.trainer.model import PointLoss
from ntkspec.trainer.observer import LookingBack, Observe
from ntkspec.trainer.optimizer import Optimizer, optimizer
from ntkspec.trainer.scales import train_scales
from ntkspec.trainer.train import require_trainable, stability_limit, train

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
