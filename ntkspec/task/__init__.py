"""Real problems: values on a lattice, the points to learn from and the points to judge by.

>>> task = signal.paper()
>>> task.shape, task.train_points.shape, task.test_points.shape
((256,), (32, 1), (224, 1))
"""

from ntkspec.task import image, signal
from ntkspec.task._source import load
from ntkspec.task._task import Task

__all__ = ["Task", "image", "load", "signal"]
