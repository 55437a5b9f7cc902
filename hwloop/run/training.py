"""Training a network into a checkpoint file."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from hwloop.errors import DataError
from hwloop.network.data.load import load_data
from hwloop.network.library.weights_file import write_state
from hwloop.network.scoring import accuracy
from hwloop.network.training.finetune import EpochEvent, TrainConfig
from hwloop.network.training.finetune import train as train_model
from hwloop.network.training.prepare import seeded_model, use_threads, workload_of
from hwloop.network.zoo.models import load_weights
from hwloop.report.progress import Progress, Silent
from hwloop.run.settings import Settings


@dataclass(frozen=True)
class TrainOutcome:
    """What came of it.

    Attributes:
        file: the checkpoint.
        validation_accuracy: 0 to 1.
        test_accuracy: 0 to 1.
        seconds: wall clock of the training.
    """

    file: str
    validation_accuracy: float
    test_accuracy: float
    seconds: float

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
    epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = 0.05,
    seed: int = 0,
    progress: Progress | None = None,
) -> TrainOutcome:
    """Trains a network and writes its weights to `out`; until then the file is as it was.

    Args:
        model: of the zoo.
        data: the data set's name.
        out: the checkpoint.
        data_root, image_size, normalisation: of the data.
        weights: a checkpoint to start from.
        epochs, batch_size, learning_rate, seed: of the training.
        progress: where to show it.

    Raises:
        DataError: the data, the model or the disk.
        SpecError: a number out of range.
    """
    progress = progress or Silent()
    Settings(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed)  # checks them before any work
    _check_writable(Path(out))
    splits = load_data(data, data_root, seed=seed, image_size=image_size, normalisation=normalisation)
    config = TrainConfig(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    network = seeded_model(model, splits, seed)
    use_threads(workload_of(network, splits, model))
    if weights is not None:
        load_weights(network, weights)
    began = time.monotonic()
    with progress.task(f"train {model} on {splits.name}", epochs) as task:

        def on_epoch(event: EpochEvent) -> None:
            task.advance(f"loss {event.loss:.3f}, validation accuracy {100 * event.validation_accuracy:.2f}%")

        train_model(network, splits, config, on_event=on_epoch)
    seconds = time.monotonic() - began
    write_state(Path(out), network.state_dict())
    return TrainOutcome(str(out), accuracy(network, splits.validation), accuracy(network, splits.test), seconds)


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
