"""What changes in the course of a training: the learning rate and the size of the images.

Both follow `done`, the fraction of the training that lies behind: steps of all steps, or time of the time there is.
"""

from __future__ import annotations

import math

from hwloop.network.training.settings import TrainConfig


def learning_rate(config: TrainConfig, done: float) -> float:
    """The learning rate at `done`, 0 to 1."""
    if done < config.warmup:
        return config.learning_rate * (done + 1e-3) / (config.warmup + 1e-3)
    if config.schedule == "constant":
        return config.learning_rate
    after = min(1.0, (done - config.warmup) / (1 - config.warmup))
    return config.learning_rate * (1 - after if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * after)))


def image_size(config: TrainConfig, done: float) -> int:
    """Side [pixels] of the training images at `done`; 0 for the images as they are."""
    if not config.sizes:
        return 0
    return config.sizes[min(int(done * len(config.sizes)), len(config.sizes) - 1)]


def work(config: TrainConfig, done: float) -> float:
    """Part of a training's computing that lies behind at `done`, 0 to 1, when an image costs what it has pixels."""
    areas = [size**2 for size in config.sizes] or [1]
    place = min(max(done, 0.0), 1.0) * len(areas)
    whole = min(int(place), len(areas) - 1)
    return (sum(areas[:whole]) + (place - whole) * areas[whole]) / sum(areas)
