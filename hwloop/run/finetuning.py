"""Fine-tuning chosen members of a front, quantisation-aware, after the search: reported beside the search's own numbers."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hwloop.errors import DataError, SpecError
from hwloop.files import write_file
from hwloop.network.accuracy.candidates import CompressedNetwork
from hwloop.network.accuracy.treatment import origin, treatment_of
from hwloop.network.data.splits import DataSplits
from hwloop.network.identity import digest_of, software_identity
from hwloop.network.library.build import RETRAINING
from hwloop.network.tracing.registry import register
from hwloop.network.training.checkpoint import Checkpoint
from hwloop.network.training.devices import resolved
from hwloop.network.training.finetune import finetune_
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import EpochEvent
from hwloop.network.weights_file import ADVICE, weights_digest, write_state
from hwloop.report.progress import Progress
from hwloop.report.result import Front
from hwloop.run.outputs import Finetuned
from hwloop.run.settings import Settings
from hwloop.spec.plan import Plan

FOLDER = "finetuned"


@dataclass(frozen=True)
class Finetuning:
    """What is fine-tuned after a search, and how.

    Attributes:
        epochs: of training.
        members: `knee`; `best`: the least energy within 0.3 points of validation accuracy; `all`; or a number of members, evenly
            spread along the front.
        learning_rate: at its highest.
        distillation: share of the loss that is the distance from the trained network's scores, 0 to 1.

    Raises:
        SpecError: a value that makes no sense.
    """

    epochs: int
    members: str = "knee"
    learning_rate: float = 0.005
    distillation: float = 0.9

    def __post_init__(self) -> None:
        TrainConfig(epochs=self.epochs, learning_rate=self.learning_rate, distillation=self.distillation)
        if self.epochs < 1:
            raise SpecError("<arguments>", "finetune", "1 epoch or more", self.epochs)
        if self.members not in ("knee", "best", "all") and not (self.members.isdecimal() and int(self.members)):
            raise SpecError("<arguments>", "finetune_members", "knee, best, all, or a number of members", self.members)

    def chosen(self, front: Front) -> list[int]:
        """Positions of the members of a front that are fine-tuned."""
        count = len(front.members)
        if self.members == "all" or not count:
            return list(range(count))
        if self.members in ("knee", "best"):
            member = front.knee() if self.members == "knee" else front.best_within()
            return [at for at, each in enumerate(front.members) if each is member]
        wanted = min(int(self.members), count)
        return sorted({round(at * (count - 1) / max(wanted - 1, 1)) for at in range(wanted)})


def finetune_front(
    front: Front,
    scorer: CompressedNetwork,
    trained: Any,
    splits: DataSplits,
    settings: Settings,
    wanted: Finetuning,
    folder: Path | None,
    progress: Progress,
) -> tuple[Finetuned, ...]:
    """Fine-tunes the chosen members of a front; what an earlier start of the run finished is taken from `folder`.

    Members whose weights a method made itself are left out, since their plan alone does not make them.

    Args:
        front: of the search; not changed.
        scorer: of the search.
        trained: the trained network, which teaches.
        splits: as the search saw them.
        settings: of the run.
        wanted: which, and how.
        folder: of the run; None keeps nothing.
        progress: where to show it.

    Raises:
        DataError: no labels to learn from, or the disk refuses.
    """
    chosen = [at for at in wanted.chosen(front) if not front.members[at].how]
    found: list[Finetuned] = []
    with progress.task(f"fine-tune {front.target}", len(chosen) * wanted.epochs) as task:
        for at in chosen:
            member = front.members[at]

            def on_epoch(event: EpochEvent, at: int = at) -> None:
                task.advance(f"member {at}, epoch {event.epoch}: validation accuracy {100 * event.validation_accuracy:.2f}%")

            made, network = _finetuned(member.plan, scorer, trained, splits, settings, wanted, folder, on_epoch)
            if network is None:
                task.advance(f"member {at}: was there", wanted.epochs)
            found.append(replace(made, target=front.target, member=at))
    return tuple(found)


def _finetuned(
    plan: Plan,
    scorer: CompressedNetwork,
    trained: Any,
    splits: DataSplits,
    settings: Settings,
    wanted: Finetuning,
    folder: Path | None,
    on_epoch: Any,
) -> tuple[Finetuned, Any]:
    """The numbers of one member; its network too, unless an earlier start finished it."""
    network = scorer.materialise(plan)
    training = resolved(
        replace(
            RETRAINING, epochs=wanted.epochs, batch_size=settings.batch_size, learning_rate=wanted.learning_rate,
            distillation=wanted.distillation, seed=settings.seed,
        ),
        network,
    )  # fmt: skip
    recipe = digest_of([
        plan.key, weights_digest(network.state_dict()), weights_digest(trained.state_dict()), asdict(training),
        splits.fingerprint, settings.validation_images, software_identity(network),
    ])  # fmt: skip
    place = None if folder is None else folder / FOLDER / f"{recipe[:24]}.json"
    if place is not None and (known := _known(place)) is not None:
        return known, None
    unrounded = Plan(tuple((name, replace(share, weight_bits=None)) for name, share in plan.layers), plan.base)
    treatment = treatment_of(plan, scorer.registry)
    registry = register(network, splits.example_for(network)) if treatment.changes_shapes else scorer.registry
    asked = {entry.name: treatment.bits_of.get(origin(entry.layers[0])) for entry in registry.entries}
    bits = {name: number for name, number in asked.items() if number is not None}
    checkpoint = None if place is None else Checkpoint(place.with_suffix(".state"), {"recipe": recipe})
    finetune_(
        network,
        scorer.materialise(unrounded),
        registry,
        bits,
        splits,
        training,
        trained,
        settings.granularity,
        checkpoint,
        on_epoch,
    )
    accuracy = scorer.accuracy(plan, network)
    made = Finetuned("", 0, wanted.epochs, accuracy, scorer.test_accuracy(plan, network) if scorer.has_test else None, "")
    if place is not None:
        made = replace(made, file=str(place.with_suffix(".pt")))
        sha256 = write_state(place.with_suffix(".pt"), network.state_dict())
        told = {"finetuned": asdict(made), "plan": plan.to_dict(), "training": asdict(training), "sha256": sha256}
        write_file(place, json.dumps(told, indent=1), ADVICE)
        place.with_suffix(".state").unlink(missing_ok=True)
    return made, network


def _known(place: Path) -> Finetuned | None:
    """What an earlier start left, when its files are whole."""
    with suppress(OSError, ValueError, KeyError, TypeError, DataError):
        told = json.loads(place.read_text(encoding="utf-8"))
        made = Finetuned(**told["finetuned"])
        if hashlib.sha256(place.with_suffix(".pt").read_bytes()).hexdigest() == told["sha256"]:
            return replace(made, file=str(place.with_suffix(".pt")))
    return None
