"""The main job: a trained network, a library of pruned models, a search on every target, and the report."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hwloop
from hwloop.backend.find import find_backend
from hwloop.backend.target import ArchitectureLike, DataflowLike, Target, make_targets
from hwloop.memo import Memo
from hwloop.memo.key import digest_of_architecture, digest_of_energy_table
from hwloop.network.build import LibraryConfig, MemberEvent, build_library
from hwloop.network.data import DataSplits, load_data
from hwloop.network.finetune import EpochEvent, TrainConfig
from hwloop.network.library import Library
from hwloop.network.library import versions as torch_versions
from hwloop.network.prepare import Trained, seeded_model, trained_model, use_threads, workload_of
from hwloop.report.progress import Progress, Silent
from hwloop.report.result import Front
from hwloop.run.model import LibraryModel
from hwloop.run.outputs import CompressResult, write_outputs
from hwloop.run.settings import Settings
from hwloop.run.tuning import search_target
from hwloop.search.checkpoint import EvaluationLog, RunFolder
from hwloop.search.genotype import Candidate
from hwloop.search.methods import find_method


@dataclass
class Timings:
    """Wall clock by stage [s]."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Adds what happens inside to `stage`."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - began


def compress(
    model: str = "lenet5",
    data: str = "digits",
    arch: ArchitectureLike | Sequence[ArchitectureLike] = "eyeriss_168",
    dataflows: DataflowLike | Sequence[DataflowLike] = None,
    settings: Settings | None = None,
    *,
    library_dir: str | Path,
    data_root: str | Path | None = None,
    weights: str | Path | None = None,
    normalisation: str | None = None,
    image_size: int | None = None,
    run_dir: str | Path | None = None,
    memo: str | Path | None = None,
    resume: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> CompressResult:
    """Compresses a network for accelerators: prune and quantise, layer by layer, with the accelerator in the loop.

    Args:
        model: a name of the zoo, of torchvision, or `package.module:function`.
        data: `digits`, `mnist`, `cifar10` or `imagefolder`.
        arch: an accelerator, or several: a name, a file, an `Architecture`.
        dataflows: constraints to compare on it: names, files, `Constraints`; None is what the accelerator itself allows.
        settings: everything else; `Settings()` when None.
        library_dir: where the trained model and the pruned models lie, or will; shared by any number of runs.
        data_root: folder of the data.
        weights: a checkpoint; trained here when None.
        normalisation: `imagenet` for checkpoints trained so; the data set's own when None.
        image_size: images are resized to it.
        run_dir: folder of this run: config, versions, every evaluation, the fronts, the plot; nothing is written when None.
        memo: the memo table's file; no table when None.
        resume: go on with the run in `run_dir`.
        workers: processes of the mapper, one a core when None.
        progress: where to show how far it is; nowhere when None.

    Raises:
        DataError: data, checkpoint, library or run folder that is missing, broken or of something else.
        SpecError: an argument or specification that makes no sense.
        InfeasibleMappingError: no mapping of a layer fits a target, or no candidate meets the budgets.
        MemoError: the memo table cannot be used.

    Example:
        >>> result = hwloop.compress("lenet5", "digits", "eyeriss_168", library_dir="library", run_dir="runs/first")
        >>> best = result.fronts[0].best_within(0.003)
        >>> result.fronts[0].factor(best)    # times less energy than the dense network
    """
    settings, progress = settings or Settings(), progress or Silent()
    find_method(settings.method)
    targets = make_targets(arch, dataflows, settings.energy)
    config = {
        "model": model, "data": data, "data_root": None if data_root is None else str(data_root),
        "weights": None if weights is None else str(weights), "normalisation": normalisation, "image_size": image_size,
        "targets": [target.name for target in targets], "settings": settings.to_dict(),
    }  # fmt: skip
    timings = Timings()
    folder = None if run_dir is None else RunFolder(run_dir, config, _versions(settings), resume)
    table = None if memo is None else Memo(memo)
    try:
        with timings.of("data and training"):
            splits = load_data(
                data,
                data_root,
                seed=settings.seed,
                image_size=image_size,
                normalisation=normalisation,
                limit=settings.train_images,
            )
            use_threads(workload_of(seeded_model(model, splits, settings.seed), splits, model))
            trained = _train(model, splits, Path(library_dir), settings, weights, progress)
            workload = workload_of(trained.model, splits, model)
        with timings.of("library"):
            library = _library(model, trained, splits, Path(library_dir), settings, progress)
        if folder is not None:
            folder.pin("identity.json", _identity(library, splits, targets, settings))
        scored = LibraryModel(
            trained.model, library, splits, workload,
            reference_bits=settings.reference_bits, coding=settings.coding, images=settings.validation_images,
            granularity=settings.granularity, seed=settings.seed,
        )  # fmt: skip
        fronts = []
        for target in targets:
            log = EvaluationLog() if folder is None else folder.log(target.file_name)
            try:
                fronts.append(search_target(target, scored, settings, log, table, workers, progress, timings.of))
            finally:
                log.close()
        with timings.of("test set"):
            fronts = [_with_test_accuracy(front, scored, progress) for front in fronts]
        seconds = {name: round(value, 3) for name, value in timings.seconds.items()}
        result = CompressResult(
            tuple(fronts), workload, trained.how, library, None if folder is None else folder.path, {},
            None if table is None else table.statistics, seconds, _notes(settings, library, targets),
        )  # fmt: skip
        return result if folder is None else replace(result, files=write_outputs(folder, result, _title(model, data, targets)))
    finally:
        if table is not None:
            table.close()
        if folder is not None:
            folder.close()


def _title(model: str, data: str, targets: Sequence[Target]) -> str:
    accelerators = dict.fromkeys(target.arch.name for target in targets)
    return f"{model} on {data}, {', '.join(accelerators)}"


def _train(
    model: str, splits: DataSplits, folder: Path, settings: Settings, weights: str | Path | None, progress: Progress
) -> Trained:
    training = TrainConfig(
        epochs=settings.epochs, batch_size=settings.batch_size, learning_rate=settings.learning_rate, seed=settings.seed
    )
    if weights is not None:
        trained = trained_model(model, splits, folder, training, weights)
    else:
        with progress.task(f"train {model} on {splits.name}", settings.epochs) as task:

            def on_epoch(event: EpochEvent) -> None:
                task.advance(f"loss {event.loss:.3f}, validation accuracy {100 * event.validation_accuracy:.2f}%")

            trained = trained_model(model, splits, folder, training, None, on_epoch)
    progress.say(f"{model}: {trained.how}, validation accuracy {100 * trained.validation_accuracy:.2f}%")
    return trained


def _library(model: str, trained: Trained, splits: DataSplits, folder: Path, settings: Settings, progress: Progress) -> Library:
    training = TrainConfig(
        epochs=settings.library_epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.library_learning_rate,
        seed=settings.seed,
    )
    config = LibraryConfig(fractions=settings.fractions, mode=settings.library_mode, training=training)
    wanted = len({0.0, *settings.fractions})
    with progress.task("library of pruned models", wanted) as task:

        def on_member(event: MemberEvent) -> None:
            there = ", was there" if event.reused else ""
            task.advance(f"p {100 * event.info.p:g}%: validation accuracy {100 * event.info.validation_accuracy:.2f}%{there}")

        library = build_library(trained.model, splits, folder, config, name=model, on_member=on_member)
    asked = {0.0, *(round(p, 4) for p in settings.fractions)}
    return replace(library, infos=tuple(info for info in library.infos if info.p in asked))


def _with_test_accuracy(front: Front, scored: LibraryModel, progress: Progress) -> Front:
    members = []
    with progress.task(f"test set, {front.target}", len(front.members) + 1) as task:
        reference = replace(front.reference, test_accuracy=scored.test_accuracy(None))
        task.advance()
        for member in front.members:
            score = scored.test_accuracy(Candidate(member.p, member.weight_bits, member.activation_bits))
            members.append(replace(member, test_accuracy=score))
            task.advance()
    return replace(front, reference=reference, members=tuple(members))


def _identity(library: Library, splits: DataSplits, targets: Sequence[Target], settings: Settings) -> dict[str, Any]:
    """What the evaluations of a run stand on: when it differs, they cannot be gone on with."""
    return {
        "data": splits.fingerprint,
        "trained": library.start_sha256,
        "library": {str(info.p): info.sha256 for info in library.infos},
        "simulator": find_backend(settings.simulator).identity,
        "accelerators": {target.name: digest_of_architecture(target.arch) for target in targets},
        "energies": {target.name: digest_of_energy_table(target.table()) for target in targets},
        "dataflows": {t.name: None if t.constraints is None else t.constraints.to_dict()["targets"] for t in targets},
    }


def _versions(settings: Settings) -> dict[str, str]:
    simulator = find_backend(settings.simulator).identity
    return {"hwloop": hwloop.__version__, "simulator": simulator, "machine": platform.platform(), **torch_versions()}


def _notes(settings: Settings, library: Library, targets: Sequence[Target]) -> tuple[str, ...]:
    fixed = settings.activation_bits
    activations = (
        f"activations at {settings.reference_bits} bits" if fixed is None
        else f"activations at {fixed} bits" if isinstance(fixed, int) else "activation bits searched"
    )  # fmt: skip
    return (
        f"reference: nothing pruned, {settings.reference_bits}-bit weights and activations, on the same accelerator under the "
        "same dataflow; its size is that of 32-bit floats",
        f"candidates: {library.mode} library of {len(library.infos)} models, {settings.weight_bits[0]} to "
        f"{settings.weight_bits[1]} bits per weight, {activations}, {settings.coding} coding, no fine-tuning after quantisation",
        "accuracy is on the validation split, which the search saw; the test set was read once, for the front",
        *(
            f"{name} has no sparse optimisations, so pruning saves it neither energy nor cycles; there are "
            "accelerators with gating, skipping or compressed formats"
            for name in dict.fromkeys(
                target.arch.name for target in targets if not any(level.sparse for level in target.arch.levels)
            )
        ),
    )
