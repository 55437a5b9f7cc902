"""What takes the steps."""

from __future__ import annotations

import torch
from torch import nn

from hwloop.errors import DataError
from hwloop.network.training.settings import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """SGD or AdamW over the parameters that are trained; biases and BatchNorm do not decay.

    Raises:
        DataError: there are none.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise DataError("the model has no parameters to train")
    if config.optimizer == "adam":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.momentum > 0)
