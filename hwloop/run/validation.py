"""What the search scores on: images held out of the training set, or a part of the test set where the weights know those.

A checkpoint from elsewhere was most likely trained on all training images, the held-out ones among them: it scores far better on
them than on new images, and a search that trusts them punishes what new images do not. Only then is the test set divided: one
half is the search's, the other the report's. The report's half is not looked at for that choice.
"""

from __future__ import annotations

from math import sqrt

from hwloop.errors import DataError
from hwloop.network.data.splits import DataSplits
from hwloop.network.scoring import accuracy
from hwloop.network.training.prepare import Trained
from hwloop.report.progress import Progress
from hwloop.run.settings import Settings, read_validation

KNOWN = 0.03  # how much better than new images a network must score on images that it was probably trained on
IMAGES = 2000  # of the search's half of the test set that a given network is held against
_DEVIATIONS = 3


def validation_splits(
    splits: DataSplits, trained: Trained, given: bool, settings: Settings, progress: Progress
) -> tuple[DataSplits, str]:
    """The data as the search sees them, and what is to be said of it; nothing where it is as it always was.

    Args:
        splits: as loaded.
        trained: the network.
        given: whether its weights come from elsewhere.
        settings: `validation`, `published_accuracy`.
        progress: where a warning is said.

    Raises:
        DataError: a part of the test set is asked for, and there is none, it is too small, or the caller's function scores.
    """
    count = read_validation(settings.validation)
    if count is not None and splits.evaluate is not None:
        raise DataError(f"{splits.name}: a part of the test set cannot be validated on where your own function scores")
    if count is not None:
        return splits.test_halved(count), ""
    new_images = splits.load_test is not None or settings.published_accuracy is not None
    if settings.validation != "auto" or not given or not splits.held_out or splits.evaluate is not None or not new_images:
        return splits, ""
    known, images = trained.validation_accuracy, len(splits.validation)
    half = splits if splits.load_test is None else splits.test_halved(len(splits.test) // 2)
    if settings.published_accuracy is not None:
        new, where = settings.published_accuracy, "as published"
    else:
        sample = half.validation.subset(IMAGES, settings.seed)
        new, where, images = accuracy(trained.model, sample), f"on {len(sample)} test images", min(images, len(sample))
    spread = sqrt(2 * max(new * (1 - new), 1e-4) / images)
    told = f"the weights that were given score {100 * known:.2f}% on the held-out training images and {100 * new:.2f}% {where}"
    if known - new <= max(KNOWN, _DEVIATIONS * spread):
        return splits, told
    if half is splits:
        note = f"{told}: they were probably trained on the held-out images, and there is no test set to validate on instead"
    else:
        note = (
            f"{told}: they were probably trained on the held-out images, so the search is validated on {half.scored_on}, and the "
            f"report is on {half.reported_on} (--validation held-out keeps the held-out images)"
        )
    progress.say(f"warning: {note}")
    return half, note
