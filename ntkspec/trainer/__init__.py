"""Finite networks, trained to check what theory predicts."""

from ntkspec.trainer._entry import plan, run, stability_limit, train, train_scales
from ntkspec.trainer._keep import NO_KEEP, Keep
from ntkspec.trainer._model import PointLoss
from ntkspec.trainer._optimizer import Optimizer, optimizer
from ntkspec.trainer._plan import Plan
from ntkspec.trainer._recording import LookingBack, Observe
from ntkspec.training import Difference, Training

__all__ = [
    "NO_KEEP",
    "Difference",
    "Keep",
    "LookingBack",
    "Observe",
    "Optimizer",
    "Plan",
    "PointLoss",
    "Training",
    "optimizer",
    "plan",
    "run",
    "stability_limit",
    "train",
    "train_scales",
]
