"""The main job: a trained network, a library of pruned models, a search on every target, and the report."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hwloop
from hwloop.backend.find import find_backend
from hwloop.backend.pool import Workers
from hwloop.backend.target import ArchitectureLike, DataflowLike, Target, make_targets
from hwloop.errors import SpecError
from hwloop.memo import Memo
from hwloop.network.data.splits import DataSplits
from hwloop.network.identity import model_identity, software_identity
from hwloop.network.library.library import versions as torch_versions
from hwloop.report.progress import Progress, Silent
from hwloop.report.result import Front, Member
from hwloop.run.design_search import check_area
from hwloop.run.finetuning import Finetuning, finetune_front
from hwloop.run.identity import target_identity
from hwloop.run.layer_bank import bank_use, fill_bank
from hwloop.run.notes import run_notes
from hwloop.run.opened import PLACES
from hwloop.run.outputs import CompressResult, Finetuned, write_outputs
from hwloop.run.scored_network import NetworkSource, places_of, scored_network
from hwloop.run.settings import Settings
from hwloop.run.tuning import Searched, search_target
from hwloop.search.log import EvaluationLog
from hwloop.search.method import find_method
from hwloop.search.objectives import find_objectives, read_budget
from hwloop.search.run_folder import RunFolder
from hwloop.search.seams import Scorer
from hwloop.search.space import Choices, find_space, space_identity
from hwloop.spec.plan import Plan


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
    model: Any = "lenet5",
    data: Any = "digits",
    arch: ArchitectureLike | Target | Sequence[ArchitectureLike | Target] = "eyeriss_168",
    dataflows: DataflowLike | Sequence[DataflowLike] = None,
    settings: Settings | None = None,
    *,
    library_dir: str | Path | None = None,
    bank_dir: str | Path | None = None,
    bank_bytes: int | None = None,
    fill: bool = False,
    finetune: Finetuning | None = None,
    evaluate: Callable[[Any], float] | Sequence[Callable[[Any], float]] | None = None,
    data_root: str | Path | None = None,
    weights: str | Path | None = None,
    normalisation: str | None = None,
    image_size: int | None = None,
    run_dir: str | Path | None = None,
    memo: str | Path | None = None,
    resume: bool = False,
    workers: Workers = None,
    progress: Progress | None = None,
) -> CompressResult:
    """Compresses a network for accelerators: prune and quantise, layer by layer, with the accelerator in the loop.

    Args:
        model: a trained torch module, which is left as it is; or a name of the zoo, of torchvision, or
            `package.module:function`, which is trained here unless `weights` are given.
        data: `digits`, `mnist`, `cifar10` or `imagefolder`; `(train, validation, test)` of torch Datasets, DataLoaders or
            `(inputs, labels)` tensors, of which the last two may be None; `DataSplits`; or a dict of the arguments of
            `hwloop.network.data.own_data.make_splits`.
        arch: an accelerator, or several: a name, a file, an `Architecture`, a whole `Target`.
        dataflows: constraints to compare on it: names, files, `Constraints`; None is what the accelerator itself allows.
        settings: everything else; `Settings()` when None.
        library_dir: folder of the trained and pruned models, made when missing; any number of runs can share it.
            `library` in `run_dir` when None.
        bank_dir: folder of the bank of compressed layers; any number of runs can share it. `bank` in the library's when None.
        bank_bytes: what the bank may take on disk, 4 GiB when None; those layers go first that were used longest ago.
        fill: make all layers that candidates can ask for before the search, not one by one when they are asked for.
        finetune: train members of each front further after the search; the front stays as it is.
        evaluate: `function(model) -> score`, best from 0 to 1, in place of accuracy on labels; or a pair of them, of which the
            second is asked once, for the report.
        data_root: folder of the data, by name.
        weights: a checkpoint; trained here when None.
        normalisation: `imagenet` for checkpoints trained so; the data set's own when None.
        image_size: images are resized to it.
        run_dir: folder of this run: config, versions, every evaluation, the fronts, the plot; nothing is written when None.
        memo: the memo table's file; no table when None.
        resume: continue the run in `run_dir`.
        workers: processes of the mapper, one a core when None; or the address of a Dask scheduler.
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
        >>> result = hwloop.compress(my_network, (train_set, validation_set, test_set), library_dir="library")
    """
    settings, progress = settings or Settings(), progress or Silent()
    method = find_method(settings.method, settings.method_options)
    asked = settings.to_dict()
    targets = make_targets(arch, dataflows, settings.energy, settings.activations)
    check_area(targets, find_objectives(settings.objectives), [read_budget(text) for text in settings.budgets])
    backend = find_backend(settings.simulator, workers)
    if library_dir is None and run_dir is None:
        raise SpecError("<arguments>", "library_dir", "a folder for the pruned models, where there is no run_dir", None)
    library_folder = Path(library_dir) if library_dir is not None else Path(run_dir or ".") / "library"
    name = model if isinstance(model, str) else type(model).__name__
    config = {
        "model": name, "data": data if isinstance(data, str) else "own data",
        "data_root": None if data_root is None else str(data_root), "weights": None if weights is None else str(weights),
        "normalisation": normalisation, "image_size": image_size, "targets": [target.name for target in targets],
        "settings": asked,
    }  # fmt: skip
    versions = {"hwloop": hwloop.__version__, "backend": backend.identity, "machine": platform.platform(), **torch_versions()}
    bank_folder = Path(bank_dir) if bank_dir is not None else library_folder / "bank"
    source = NetworkSource(
        model, name, data, library_folder, bank_folder, evaluate, data_root, weights, normalisation, image_size, bank_bytes
    )  # fmt: skip
    timings = Timings()
    folder = None if run_dir is None else RunFolder(run_dir, config, versions, resume)
    table = None if memo is None else Memo(memo)
    try:
        opened = scored_network(source, settings, progress, timings.of)
        scorer, splits, library, bank = opened.scorer, opened.splits, opened.library, opened.bank
        trained, registry, workload = opened.trained, opened.registry, opened.registry.workload
        choices = Choices(
            workload, scorer.layers, library.fractions, settings.weight_bits, settings.activation_bits, settings.amounts
        )
        space = find_space(settings.space, choices, settings.space_options)
        if fill and bank is not None:
            with timings.of("bank"):
                fill_bank(bank, trained.model, registry, library, space, progress)
        if folder is not None:
            folder.write_json(PLACES, places_of(source, folder.path))
            plans = [scorer.complete(plan) for plan in (Plan(), *space.corners())]
            folder.pin(
                {
                    "data": splits.fingerprint, "trained": library.start_sha256,
                    "library": {str(info.p): info.sha256 for info in library.infos},
                    "bank": None if bank is None else bank.identity,
                    "model": model_identity(trained.model, workload), "space": space_identity(space), "backend": backend.identity,
                    "targets": {target.name: target_identity(target, workload, plans) for target in targets},
                    "software": software_identity(trained.model),
                }
            )  # fmt: skip
        fronts: list[Front] = []
        finetuned: list[Finetuned] = []
        for target in targets:
            log = EvaluationLog() if folder is None else folder.log(target.file_name, splits.evaluate is None)
            kept = None if folder is None else folder.method_folder(target.file_name)
            try:
                searched = search_target(target, scorer, space, method, settings, log, kept, table, workers, progress, timings.of)
            finally:
                log.close()
            with timings.of("test set"):
                fronts.append(_with_test_accuracy(searched, scorer, splits, progress))
        if finetune is not None:
            place = None if folder is None else folder.path
            with timings.of("fine-tuning"):
                for front in fronts:
                    finetuned += finetune_front(front, scorer, trained.model, splits, settings, finetune, place, progress)
        seconds = {stage: round(value, 3) for stage, value in timings.seconds.items()}
        notes = run_notes(settings, splits, registry, library, bank, space.name, method.name, targets, opened.seen)
        result = CompressResult(
            tuple(fronts), workload, trained.how, library, method.name, space.name, None if folder is None else folder.path, {},
            None if table is None else table.statistics, seconds, notes, bank_use(bank), tuple(finetuned),
        )  # fmt: skip
        title = f"{name} on {splits.name}, {', '.join(dict.fromkeys(target.arch.name for target in targets))}"
        return result if folder is None else replace(result, files=write_outputs(folder, result, title))
    finally:
        if table is not None:
            table.close()
        if folder is not None:
            folder.close()


def _with_test_accuracy(searched: Searched, scorer: Scorer, splits: DataSplits, progress: Progress) -> Front:
    front = replace(searched.front, scored_on=splits.scored_on)
    if not scorer.has_test:
        return front
    members: list[Member] = []
    with progress.task(f"test set, {front.target}", len(front.members) + 1) as task:
        reference = replace(front.reference, test_accuracy=scorer.test_accuracy(Plan()))
        task.advance()
        for member, record, network in zip(front.members, searched.records, searched.networks, strict=True):
            members.append(replace(member, test_accuracy=scorer.test_accuracy(record.plan, network())))
            task.advance()
    return replace(front, reference=reference, members=tuple(members), reported_on=splits.reported_on)
