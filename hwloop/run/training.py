"""Training a network into a checkpoint file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from hwloop.errors import DataError
from hwloop.network.data.load import load_data
from hwloop.network.identity import model_identity
from hwloop.network.layers import device_of
from hwloop.network.scoring import accuracy
from hwloop.network.training.checkpoint import Checkpoint, read_checkpoint
from hwloop.network.training.devices import find_device, precision_of
from hwloop.network.training.images import smaller_sizes
from hwloop.network.training.prepare import seeded_model, use_threads, workload_of
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import EpochEvent, StepEvent, train
from hwloop.network.weights_file import write_state
from hwloop.network.zoo.models import load_weights
from hwloop.report.progress import Progress, Silent, time_text

_LONG_EPOCH_S = 5.0  # of such an epoch a line stays


@dataclass(frozen=True)
class TrainOutcome:
    """What came of it.

    Attributes:
        file: of the weights.
        validation_accuracy: 0 to 1.
        test_accuracy: 0 to 1.
        seconds: wall clock of the training, that before a stop included.
        device: where it ran.
        precision: of its products.
        training: the settings.
        epochs: how it went.
    """

    file: str
    validation_accuracy: float
    test_accuracy: float
    seconds: float
    device: str
    precision: str
    training: TrainConfig
    epochs: tuple[EpochEvent, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def train_network(
    model: str,
    data: str,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    image_size: int | None = None,
    normalisation: str | None = None,
    weights: str | Path | None = None,
    training: TrainConfig | None = None,
    progressive: bool = True,
    device: str = "auto",
    resume: bool = False,
    progress: Progress | None = None,
) -> TrainOutcome:
    """Trains a network and writes its weights to `out`; until then the file is as it was.

    After each epoch everything that the next one depends on is written to `state_file(out)`, from which `resume` goes on: to the
    same weights, bit for bit, when the number of epochs is fixed.

    Args:
        model: of the zoo.
        data: the data set's name.
        out: the file of the weights.
        data_root, image_size, normalisation: of the data.
        weights: a checkpoint to start from.
        training: how; `TrainConfig()` when None.
        progressive: train the first half on smaller images where the network takes them and `training` says no sizes.
        device: `auto`, `cpu`, `cuda`, ...
        resume: go on with the training that was stopped; it starts from nothing where there is none.
        progress: where to show it.

    Raises:
        DataError: the data, the model or the disk; or there is a stopped training and no `resume`, or one of other settings.
        SpecError: a device that is not there.
    """
    progress, config = progress or Silent(), training or TrainConfig()
    place = find_device(device)
    _check_writable(Path(out))
    state = state_file(out)
    if not resume:
        _make_way(state)
    splits = load_data(data, data_root, seed=config.seed, image_size=image_size, normalisation=normalisation)
    network = seeded_model(model, splits, config.seed)
    workload = workload_of(network, splits, model)
    use_threads(workload)
    if weights is not None:
        load_weights(network, weights)
    if progressive and not config.sizes:
        config = replace(config, sizes=smaller_sizes(network, splits))
    identity = {"network": {"name": model, **model_identity(network, workload)},
                "data": {"name": splits.name, "sha256": splits.fingerprint}, "training": asdict(config)}  # fmt: skip
    network = network.to(place)
    events = _train(network, model, splits, config, Checkpoint(state, identity), progress)
    write_state(Path(out), network.state_dict())
    return TrainOutcome(
        str(out), accuracy(network, splits.validation), accuracy(network, splits.test), sum(event.seconds for event in events),
        str(place), precision_of(config, network), config, events,
    )  # fmt: skip


def state_file(out: str | Path) -> Path:
    """Where the state of a training into `out` is kept; it may be removed once the training is done."""
    return Path(f"{out}.state")


def _train(
    network: Any, name: str, splits: Any, config: TrainConfig, checkpoint: Checkpoint, progress: Progress
) -> tuple[EpochEvent, ...]:
    began = checkpoint.load()
    behind = 0 if began is None else int(began["epoch"])
    if behind:
        progress.say(f"goes on after epoch {behind}, from {checkpoint.path}")
    sides = f", images of {' then '.join(map(str, config.sizes))} pixels" if config.sizes else ""
    progress.say(f"train {name} on {splits.name}: {precision_of(config, network)} on {device_of(network)}{sides}")
    total = 0 if config.hours is not None else config.epochs - behind
    with progress.task(f"train {name} on {splits.name}", total) as task:

        def on_epoch(event: EpochEvent) -> None:
            note = f"loss {event.loss:.3f}, validation accuracy {100 * event.validation_accuracy:.2f}%"
            if event.seconds >= _LONG_EPOCH_S:
                of = f"/{event.epochs}" if event.epochs else ""
                rate = f"{event.images} images in {event.seconds:.0f} s"
                progress.say(f"epoch {event.epoch}{of}: {note}, training {100 * event.train_accuracy:.2f}%, {rate}")
            task.advance(note)

        def on_step(event: StepEvent) -> None:
            task.advance(
                f"epoch {event.epoch}, {100 * event.done:.1f}%, loss {event.loss:.3f}, {time_text(event.seconds_left)} left", 0
            )

        return train(network, splits, config, on_event=on_epoch, on_step=on_step, checkpoint=checkpoint)


def _make_way(state: Path) -> None:
    """Removes the state of a training that was finished.

    Raises:
        DataError: it is of one that was not.
    """
    found = read_checkpoint(state)
    if found is not None and not found["finished"]:
        raise DataError(
            f"{state}: holds a training that was stopped after epoch {found['epoch']}; "
            "go on with it (--resume), or remove the file to start anew"
        )
    state.unlink(missing_ok=True)


def _check_writable(out: Path) -> None:
    """Refuses a checkpoint that could not be written, before hours of training rather than after.

    Raises:
        DataError: the folder cannot be made or written to, or `out` is a folder.
    """
    if out.is_dir():
        raise DataError(f"cannot write {out} (it is a folder); give the name of a file")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise DataError(f"cannot write {out} ({error.strerror}); choose another place (nothing was trained)") from error
