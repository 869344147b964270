"""Finite networks, trained to check what theory predicts."""

from ntkspec.trainer.train import train

__all__ = ["train"]
