"""The main job on the handwritten digits inside scikit-learn, from nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from hwloop.backend.find import find_backend
from hwloop.backend.target import make_targets
from hwloop.files import write_file
from hwloop.report.case import accelerator_text, area_of, folded, subject_text
from hwloop.report.progress import Progress
from hwloop.run.outputs import CompressResult, result_text
from hwloop.run.settings import Settings
from hwloop.search.run_folder import CONFIG, VERSIONS

ARCH = "flexible_skipping"
DATAFLOWS = ("row_stationary", "weight_stationary", "output_stationary")
SETTINGS = Settings(
    objectives=("accuracy", "energy"),
    method_options={"population": 32, "generations": 25},
    compression="magnitude",  # quicker on a network this small, and as in the paper
    weight_bits=(2, 12),
    pruning=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95),
    epochs=30,
    library_epochs=3,
    mapper_effort="quick",
)


def demo(out: str | Path = "hwloop-demo", seed: int = 0, progress: Progress | None = None) -> CompressResult:
    """Compresses a LeNet-5 on handwritten digits under three dataflows of one accelerator.

    Args:
        out: folder of all runs of the demo, with the models, the memo table and a folder a run. A run there that was stopped is
            continued.
        seed: of everything that is drawn.
        progress: where to show how far it is; nowhere when None.

    Raises:
        DataError: the disk refuses.
        SpecError: a negative seed.
    """
    from hwloop.run.compression import compress  # loads torch

    settings = replace(SETTINGS, seed=seed)
    write_file(Path(out) / ".gitignore", "*\n")  # results, wherever the demo is run, are no part of anybody's repository
    folder = next_run(Path(out), settings)
    return compress(
        "lenet5", "digits", ARCH, DATAFLOWS, settings,
        library_dir=Path(out) / f"library-{seed}", run_dir=folder, memo=Path(out) / "memo.sqlite",
        resume=(folder / CONFIG).exists(), progress=progress,
    )  # fmt: skip


def demo_text(result: CompressResult) -> str:
    """The result, with everything said that a reader needs who sees such tables for the first time."""
    [target] = make_targets(ARCH)
    return "\n".join([
        folded([
            subject_text(result.workload), f"on {accelerator_text(target.arch, area_of(target))}",
            f"The accelerator spends nothing on zeros that it can skip. The network runs on it under {len(result.fronts)} "
            "dataflows, which say what stays in the array and what moves; area and storage are the same.",
        ]),
        result_text(result, most=_ROWS), "", "How to read this", *(folded([f"  {line}"]) for line in _EXPLAINED),
    ])  # fmt: skip


_ROWS = 10
_EXPLAINED = (
    "row: one compressed network on the front: no other candidate is as accurate with as little energy. `dense` is the network "
    "before compression, at 16 bits.",
    "accuracy: on validation images, by which the search chooses. test: on images that it never sees.",
    "energy, cycles: of one image on this accelerator; factor: how many times less than dense.",
    "size: of the stored weights. Coding `normal` stores every weight at its bits, zeros too (`csr` and `coo` store only the "
    "others, with their places); factor: against 32-bit floats.",
    "pruned (p): part of the weights that are zero. The library holds the trained network pruned to each p and retrained; a "
    "candidate is one of them with its weights rounded to the bits of its row.",
    "bits per weight: of each layer, in the order in which they run.",
    "* knee: the bend of the front; beyond it accuracy falls fast for little energy.",
    "+ the least energy within 0.3 points of the dense network's validation accuracy.",
    "memo table: answers of the mapper, kept on disk; run the demo twice to see what that saves.",
)


def next_run(out: Path, settings: Settings) -> Path:
    """The folder of the run that was stopped, if it can be continued, else of a new one."""
    number = 1
    while (folder := out / f"run-{number}").exists() and not _can_go_on(folder, settings):
        number += 1
    return folder


def _can_go_on(folder: Path, settings: Settings) -> bool:
    """Whether a run was stopped there that asked for the same, of the same program."""
    if (folder / "front.json").exists() and (folder / "front.png").exists():
        return False
    try:
        config, versions = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (CONFIG, VERSIONS))
        same = config["settings"] == json.loads(json.dumps(settings.to_dict()))
        return bool(same and versions["backend"] == find_backend(settings.simulator).identity)
    except (OSError, ValueError, KeyError):
        return False
