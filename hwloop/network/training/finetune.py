"""Quantisation-aware fine-tuning of a compressed network: its weights stay on their levels, pruned ones at zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from hwloop.network.data.splits import DataSplits
from hwloop.network.tracing.entries import Registry
from hwloop.network.training.checkpoint import Checkpoint
from hwloop.network.training.rounding import rounding_of
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import EpochEvent, train
from hwloop.network.transforms.prune import nonzero_masks


def finetune_(
    network: nn.Module,
    pruned: nn.Module,
    registry: Registry,
    bits: Mapping[str, int],
    splits: DataSplits,
    training: TrainConfig,
    teacher: nn.Module | None = None,
    granularity: str = "channel",
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[EpochEvent], None] | None = None,
) -> None:
    """Trains the network of a plan in place; its weights end on the levels they began on.

    Args:
        network: of the plan, its activations quantised by hooks, see `CompressedNetwork.materialise`.
        pruned: the same before its weights were rounded: those that are zero there stay zero.
        registry: of both.
        bits: by name of the weight tensor; those not named are not rounded.
        splits: `train` is learned from.
        training: how; without averaging.
        teacher: the trained network, where `training.distillation` is above 0.
        granularity: of the weights' steps.
        checkpoint: where the training is kept after each epoch.
        on_epoch: called after each epoch.

    Raises:
        DataError: no labels to learn from, or a checkpoint of another training.
    """
    rounding = rounding_of(network, registry, bits, granularity)
    masks = nonzero_masks(pruned, registry)
    train(network, splits, training, masks, on_epoch, checkpoint=checkpoint, teacher=teacher, rounding=rounding)
