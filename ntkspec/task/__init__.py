"""Real problems: values on a lattice or at scattered points, split into points to learn from and to judge by.

>>> task = signal.paper()
>>> task.shape, task.train_points.shape, task.test_points.shape
((256,), (32, 1), (224, 1))
"""

from ntkspec.task import image, points, signal
from ntkspec.task._piece import Piece, piece
from ntkspec.task._scattered import Scattered
from ntkspec.task._source import load
from ntkspec.task._task import Task

__all__ = ["Piece", "Scattered", "Task", "image", "load", "piece", "points", "signal"]
