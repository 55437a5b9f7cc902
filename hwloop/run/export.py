"""A member of a finished run as files that other programs read: torch, safetensors, ONNX, Timeloop, and a card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hwloop.errors import DataError, SpecError
from hwloop.files import write_file
from hwloop.network.data.splits import DataSplits
from hwloop.network.export.check import Agreement, agreements, single_input
from hwloop.network.export.files import load_export, write_network
from hwloop.network.export.onnx_file import OnnxNetwork, write_onnx
from hwloop.report.progress import Progress, Silent
from hwloop.report.result import Front
from hwloop.report.run_data import RunData
from hwloop.run.export_card import card_document, card_markdown
from hwloop.run.export_timeloop import write_timeloop
from hwloop.run.opened import open_run, places, trained_digest
from hwloop.run.scored_network import NetworkSource, ScoredNetwork, scored_network
from hwloop.run.settings import Settings

ONNX, CARD, CARD_JSON, TIMELOOP = "network.onnx", "CARD.md", "card.json", "timeloop"
NAMED = ("best", "knee", "by-test")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: where.
        target: whose front it is from.
        number: the member's, from 1.
        agreement: the reloaded module and the ONNX file, held against the network of the run on the test images.
        card: `card.json`.
    """

    folder: Path
    target: str
    number: int
    agreement: tuple[Agreement, ...]
    card: Mapping[str, Any]


def export_member(
    run: str | Path,
    member: int | str = "best",
    out: str | Path = "exported",
    *,
    target: str | None = None,
    model: Any = None,
    data: Any = None,
    library_dir: str | Path | None = None,
    data_root: str | Path | None = None,
    weights: str | Path | None = None,
    onnx: bool = True,
    progress: Progress | None = None,
) -> Exported:
    """Writes one compressed network of a finished run, loads it back and counts the images on which it differs.

    Args:
        run: the folder of the run.
        member: its number on the front, from 1, as `hwloop report` prints it; or `best` (least energy within 0.3 points of
            validation accuracy), `knee`, `by-test`.
        out: folder of the files.
        target: whose front, when the run has several.
        model, data: as they were given to `compress`, where those were no names.
        library_dir: of the pruned models, when it has moved.
        data_root, weights: in place of those in the run's config, when they have moved.
        onnx: whether to write and check the ONNX file.
        progress: where to show how far it is.

    Raises:
        DataError: the run is not finished, was made by another version, or its models or data are not there; or the member's
            weights were made by a search method, which alone knows how.
        SpecError: no such member or target.
    """
    progress, found = progress or Silent(), open_run(run)
    front, at = _chosen(found, member, target)
    chosen = front.members[at]
    if chosen.how:
        raise DataError(f"member {at + 1}: its weights were made by the search ({chosen.how}), not from the plan alone")
    if front.target not in found.layers:
        raise DataError(f"{found.folder}: {'; '.join(found.notes) or 'it does not say how the layers run'}")
    opened = _opened(found, model, data, library_dir, data_root, weights, progress)
    folder, splits, example = Path(out), opened.splits, single_input(opened.splits)
    pieces = opened.scorer.pieces(chosen.plan)
    own = model is not None or ":" in str(found.config["model"]).removeprefix("torchvision:")
    build = None if own else _build(found, opened)
    about = {
        "name": splits.name, "input": list(example.shape[1:]), "classes": list(splits.classes),
        "normalisation": found.config.get("normalisation") or "the data set's own",
    }  # fmt: skip
    write_network(folder, pieces, chosen.plan, build, about)
    notes = write_onnx(folder / ONNX, pieces, example) if onnx else ()
    timeloop = write_timeloop(folder / TIMELOOP, found.layers[front.target].members[at])
    forms: dict[str, Any] = {"torch module, loaded back": load_export(folder, opened.trained.model if own else None)}
    if onnx:
        forms["ONNX, in onnxruntime"] = OnnxNetwork(folder / ONNX)
    images = splits.test if splits.load_test is not None else splits.validation
    progress.say(f"check on {len(images)} images")
    agreement = agreements(opened.scorer.materialise(chosen.plan), images, forms)
    _check_recorded(front, at, splits, agreement[0])
    card = card_document(found, front, at, pieces, agreement, timeloop, notes)
    write_file(folder / CARD_JSON, json.dumps(card, indent=1) + "\n")
    write_file(folder / CARD, card_markdown(card))
    return Exported(folder, front.target, at + 1, agreement, card)


def _chosen(run: RunData, member: int | str, target: str | None) -> tuple[Front, int]:
    """The front and the member's place on it."""
    if not run.finished:
        raise DataError(f"{run.folder}: {run.status}")
    names = [front.target for front in run.fronts]
    if target is None and len(names) > 1:
        raise SpecError("<arguments>", "target", f"one of the run's targets: {', '.join(names)}", None)
    front = next((front for front in run.fronts if target in (None, front.target)), None)
    if front is None:
        raise SpecError("<arguments>", "target", f"one of the run's targets: {', '.join(names)}", target)
    if isinstance(member, str) and not member.isdecimal():
        if member not in NAMED:
            raise SpecError("<arguments>", "member", f"a number or one of {', '.join(NAMED)}", member)
        found = {"best": front.best_within, "knee": front.knee, "by-test": front.best_by_test}[member]()
        if found is None:
            raise SpecError("<arguments>", "member", "a number: this front has no such member", member)
        return front, next(i for i, each in enumerate(front.members) if each is found)
    number = int(member)
    if not 1 <= number <= len(front.members):
        raise SpecError("<arguments>", "member", f"a number from 1 to {len(front.members)}", member)
    return front, number - 1


def _opened(
    run: RunData, model: Any, data: Any, library_dir: str | Path | None, data_root: Any, weights: Any, progress: Progress
) -> ScoredNetwork:
    """The network of the run, from its config, library and bank; nothing is trained."""
    config = run.config
    if data is None and config.get("data") == "own data":
        raise DataError(f"{run.folder}: the run was made on data of your own; give them: export_member(run, ..., data=...)")
    known = places(run)
    library = Path(library_dir) if library_dir is not None else known["library"]
    if not library.is_dir():
        raise DataError(f"{library}: the library of pruned models is not there; say where it is (--library)")
    source = NetworkSource(
        config["model"] if model is None else model, str(config["model"]), config["data"] if data is None else data,
        library, known["bank"] if library_dir is None else library / "bank",
        data_root=data_root or config.get("data_root"), weights=weights or config.get("weights"),
        normalisation=config.get("normalisation"), image_size=config.get("image_size"),
    )  # fmt: skip
    opened = scored_network(source, _settings(run), progress, lambda _stage: nullcontext())
    if trained_digest(run) not in (None, opened.library.start_sha256):
        raise DataError(
            f"{run.folder}: the run compressed another network than {opened.trained.how}; give the weights and the library it had"
        )
    return opened


def _settings(run: RunData) -> Settings:
    """The run's settings; lists in JSON were tuples."""
    known = {field.name for field in fields(Settings)}
    if differ := sorted(known ^ set(run.settings)):
        raise DataError(f"{run.folder}: its settings are of another version of hwloop ({', '.join(differ)}); run it again")
    return Settings(**{name: _tuples(value) for name, value in run.settings.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _build(run: RunData, opened: ScoredNetwork) -> dict[str, Any]:
    """What the zoo is to be called with for the network that is not compressed."""
    channels, size, _ = opened.splits.image_shape
    return {"name": run.config["model"], "in_channels": channels, "image_size": size, "classes": len(opened.splits.classes)}


def _check_recorded(front: Front, at: int, splits: DataSplits, found: Agreement) -> None:
    """Holds the network that was made again to the accuracy that the run wrote down."""
    recorded = front.members[at].test_accuracy
    if recorded is None or found.right is None or splits.evaluate is not None or splits.load_test is None:
        return
    wanted = round(recorded * found.images)
    if wanted != found.right:
        raise DataError(
            f"the network that was made again classifies {found.right} of {found.images} images right, in the run it was "
            f"{wanted}: its data, library or bank have changed since"
        )
