"""What each part of the search is worth at an equal budget of images: a table in Markdown. It can be stopped and started again.

python tools/ablate_search.py lenet5 --data mnist --data-root data --folder ablation
python tools/ablate_search.py resnet20 --data cifar10 --data-root data --weights resnet20-12fca82f.th \\
    --normalisation imagenet --validation test --folder ablation-resnet20

Every variant differs from the one above it by one part: the paper's space on its library (retrained, magnitude, nearest level);
the same with layers from the bank; an amount for each layer; activation bits searched; the first population from the knapsack;
children along the tables; children filtered by what the tables expect. `knapsack` is the tables alone. All have the same target,
reference, mappings to try, validation images and budget, in which images that measure layers count; the same candidate is
evaluated once for all of them. The check is on test images that the search did not see.

The score is the hypervolume of (validation accuracy lost, log2 of the energy factor) as a part of the range of losses: 2.0
means that a loss within the range buys a factor of 4 on average (in logarithms).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hwloop.backend.candidates import CandidateCosts  # noqa: E402
from hwloop.backend.request import MapperSettings  # noqa: E402
from hwloop.backend.target import make_targets  # noqa: E402
from hwloop.files import write_file  # noqa: E402
from hwloop.network.accuracy.candidates import CompressedNetwork  # noqa: E402
from hwloop.network.bank.bank import IMAGES, Bank  # noqa: E402
from hwloop.network.data.load import load_data  # noqa: E402
from hwloop.network.data.splits import DataSplits  # noqa: E402
from hwloop.network.library.build import RETRAINING, LibraryConfig, build_library  # noqa: E402
from hwloop.network.training.prepare import registry_of, trained_model, use_threads  # noqa: E402
from hwloop.network.training.settings import TrainConfig  # noqa: E402
from hwloop.pareto import hypervolume  # noqa: E402
from hwloop.run.networks import open_backend  # noqa: E402
from hwloop.search.method import find_method, run_method  # noqa: E402
from hwloop.search.objectives import find_objectives  # noqa: E402
from hwloop.search.records import Record, front  # noqa: E402
from hwloop.search.run_folder import RunFolder  # noqa: E402
from hwloop.search.seams import SearchBudget  # noqa: E402
from hwloop.search.space import Choices, find_space  # noqa: E402
from hwloop.search.study import Study  # noqa: E402
from hwloop.spec.plan import Plan  # noqa: E402

PLAIN = {"seeds": 0.0, "proposals": 0.0, "drawn": 1}
ACTIVATION_BITS = (4, 8)
Point = tuple[float, float]  # accuracy, energy [pJ]


@dataclass(frozen=True)
class Variant:
    """One line of the table."""

    title: str
    bank: bool = True
    space: str = "layerwise"
    activations: tuple[int, int] | int = 8
    method: str = "nsga2"
    options: dict[str, Any] = field(default_factory=dict)


VARIANTS = {
    "paper": Variant("paper: one amount, magnitude", False, "global-pruning", options=PLAIN),
    "bank": Variant("+ layers from the bank", space="global-pruning", options=PLAIN),
    "layers": Variant("+ an amount for each layer", options=PLAIN),
    "activations": Variant("+ activation bits", activations=ACTIVATION_BITS, options=PLAIN),
    "seeds": Variant("+ seeds", activations=ACTIVATION_BITS, options=PLAIN | {"seeds": 0.5}),
    "proposals": Variant("+ proposals", activations=ACTIVATION_BITS, options={"seeds": 0.5, "proposals": 0.5, "drawn": 1}),
    "filter": Variant("+ filter", activations=ACTIVATION_BITS, options={"seeds": 0.5, "proposals": 0.5, "drawn": 4}),
    "knapsack": Variant("the knapsack alone", activations=ACTIVATION_BITS, method="knapsack", options={"evaluations": 10**6}),
    "random": Variant("random rows", activations=ACTIVATION_BITS, method="random", options={"evaluations": 10**6}),
}


def read_floats(text: str) -> tuple[float, ...]:
    """Numbers by comma."""
    return tuple(float(part) for part in text.split(","))


def splits_of(args: argparse.Namespace) -> DataSplits:
    """The data, with half of the test set for the search where the network knows the training set."""
    splits = load_data(args.data, args.data_root, normalisation=args.normalisation)
    test = splits.test
    if args.validation == "test":
        held, test = test.divide(len(test) // 2, 0)
        splits = replace(splits, validation=held)
    checked = test.subset(args.check_images, 0)
    return replace(splits, load_test=lambda: checked)


class Laboratory:
    """The network, the target and everything that variants share."""

    def __init__(self, args: argparse.Namespace, folder: RunFolder) -> None:
        self.args, self.folder = args, folder
        splits = splits_of(args)
        training = TrainConfig(epochs=args.epochs, seed=0)
        trained = trained_model(args.network, splits, folder.path / "library", training, args.weights)
        self.registry = registry_of(trained.model, splits, args.network)
        use_threads(self.registry.workload)
        retrained = replace(splits, train=splits.train.subset(args.library_images, 0))
        config = LibraryConfig(fractions=args.pruning, training=replace(RETRAINING, epochs=args.library_epochs, seed=0))
        library = build_library(
            trained.model, retrained, folder.path / "library", config, name=args.network, registry=self.registry,
            on_member=lambda event: print(f"p={event.info.p:g}: {100 * event.info.validation_accuracy:.2f}%", flush=True),
        )  # fmt: skip
        amounts = {0.0, *args.pruning}
        library = replace(library, infos=tuple(info for info in library.infos if info.p in amounts))
        bank = Bank(folder.path / "bank", splits.train.subset(IMAGES, 0))
        self.scorers = {
            banked: CompressedNetwork(
                trained.model,
                library,
                splits,
                self.registry,
                reference_bits=16,
                images=args.images,
                bank=bank if banked else None,
            )
            for banked in (False, True)
        }
        scorer = self.scorers[True]
        self.choices = Choices(self.registry.workload, scorer.layers, library.fractions, args.weight_bits, ACTIVATION_BITS)
        target = make_targets(args.arch, args.dataflow)[0]
        self.hardware = CandidateCosts(self.registry.workload, target, MapperSettings("energy", "normal"), open_backend())
        corners = [scorer.complete(plan) for plan in find_space("layerwise", self.choices).corners()]
        self.reference = self.hardware.prepare(scorer.complete(Plan()), corners)
        self.dense = (scorer.accuracy(Plan()), self.reference.energy_pj)
        self.target = target.name

    def run(self, name: str, seed: int) -> dict[str, Any]:
        """One search: (images used, accuracy, energy) of each candidate as it was asked for, and the plans of its front."""
        variant, args = VARIANTS[name], self.args
        kept = self.folder.path / f"trace-{name}-{seed}.json"
        if kept.exists():
            return dict(json.loads(kept.read_text()))
        kind = "bank" if variant.bank else "magnitude"
        scorer = self.scorers[variant.bank]
        log = self.folder.log(kind)
        options = {"amounts": args.amounts} if variant.space == "layerwise" else {}
        space = find_space(variant.space, replace(self.choices, activation_bits=variant.activations), options)
        limit = SearchBudget(images=args.evaluations * args.images)
        study = Study(
            scorer, self.hardware, self.reference, find_objectives(["accuracy", "energy"]), (), limit, seed, log,
            self.folder.method_folder(kind),
        )  # fmt: skip
        trace: list[tuple[int, float, float]] = []

        def on_record(record: Record, _known: bool) -> None:
            if "energy_pj" in record.metrics:
                trace.append((study.images_used, record.metrics["accuracy"], record.metrics["energy_pj"]))

        study.watch(on_record)
        given = dict(variant.options)
        if variant.method == "nsga2":
            given |= {"population": args.population, "generations": 10**6, "images": args.damage_images, "bases": args.bases}
        if variant.method == "knapsack":
            given |= {"images": args.damage_images, "bases": args.bases}
        run_method(find_method(variant.method, given), study, space)
        log.close()
        found = front(study.records, study.objectives, ())
        good = [record for record in found if record.metrics["accuracy"] >= self.dense[0] - args.loss]
        checked = (
            [(scorer.test_accuracy(record.plan), record.metrics["energy_pj"]) for record in good] if args.check_images else []
        )
        out = {"trace": trace, "front": [record.plan.to_dict() for record in good], "checked": checked}
        write_file(kept, json.dumps(out) + "\n")
        return out


def score(points: list[Point], dense: Point, loss: float) -> float:
    """Hypervolume of (loss of accuracy / `loss`, -log2 of the energy factor) below (1, 0)."""
    values = [(max(dense[0] - accuracy, 0.0) / loss, -np.log2(dense[1] / energy)) for accuracy, energy in points]
    return hypervolume(np.array(values).reshape(len(values), 2), (1.0 + 1e-9, 0.0))


def factor(points: list[Point], dense: Point, loss: float) -> float:
    """The largest energy factor within a loss; 0 where there is none."""
    return max((dense[1] / energy for accuracy, energy in points if accuracy >= dense[0] - loss - 1e-9), default=0.0)


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def report(args: argparse.Namespace, found: dict[str, list[dict[str, Any]]], dense: Point, checked: float, target: str) -> str:
    """The table."""
    budget = args.evaluations * args.images
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    shares = (0.25, 0.5, 1.0)
    lines = [
        f"{args.network} on {args.data}, {target}: {100 * dense[0]:.2f}% of {args.images} validation images when dense, "
        f"{100 * checked:.2f}% of {args.check_images} images for the check. "
        f"Budget {budget:,} images ({args.evaluations} candidates), "
        f"losses from 0 to {100 * args.loss:g} points.",
        "",
        "| | seeds | " + " | ".join(f"score at {100 * share:g}% of the images" for share in shares)
        + " | factor within 1 point | loss of that one on the check [points] |",
        "|---" * (4 + len(shares)) + "|",
    ]  # fmt: skip
    for name, runs in found.items():
        cells = []
        for share in shares:
            scores = [score([(a, e) for n, a, e in run["trace"] if n <= share * budget], dense, args.loss) for run in runs]
            cells.append(spread(scores))
        cells.append(spread([factor([(a, e) for _, a, e in run["trace"]], dense, 0.01) for run in runs]))
        losses = [100 * (checked - lost) for run in runs if (lost := _checked(run, dense)) is not None]
        cells.append(spread(losses) if losses else "-")
        lines.append(f"| {VARIANTS[name].title} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"    python tools/ablate_search.py {' '.join(_command())}", "", f"Commit {commit}.", ""])


def _checked(run: dict[str, Any], dense: Point) -> float | None:
    """Accuracy on the check of the cheapest member within 1 point on validation."""
    within = factor([(a, e) for _, a, e in run["trace"]], dense, 0.01)
    return next((a for a, e in run["checked"] if dense[1] / e == within), None)


def _command() -> list[str]:
    """The arguments, with folders by their last name."""
    return [Path(word).name if "/" in word else word for word in sys.argv[1:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-root")
    parser.add_argument("--weights", help="a checkpoint; trained here when not given")
    parser.add_argument("--normalisation", help="imagenet for the public CIFAR-10 checkpoints")
    help_text = "test: half of the test set, as for checkpoints that have seen the whole training set"
    parser.add_argument("--validation", choices=("held-out", "test"), default="held-out", help=help_text)
    parser.add_argument("--epochs", type=int, default=10, help="of that training")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--arch", default="eyeriss_168_skipping")
    parser.add_argument("--dataflow")
    parser.add_argument("--evaluations", type=int, default=300, help="the budget, in candidates without any measured layers")
    parser.add_argument("--images", type=int, default=500, help="validation images a candidate")
    parser.add_argument("--check-images", type=int, default=2000, help="of the test set, for the fronts; 0 checks none")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--population", type=int, default=24)
    parser.add_argument("--damage-images", type=int, default=64)
    parser.add_argument("--bases", type=int, default=2)
    parser.add_argument("--pruning", type=read_floats, default=(0.3, 0.5, 0.7, 0.8, 0.9), help="of the library")
    parser.add_argument("--library-epochs", type=int, default=1)
    parser.add_argument("--library-images", type=int, default=10**9, help="training images of each epoch of retraining")
    parser.add_argument("--amounts", default="0.2:0.9:0.1,0.95", help="ladder of amounts for each layer")
    parser.add_argument("--weight-bits", type=lambda text: tuple(int(b) for b in text.split(":")), default=(2, 8))
    parser.add_argument("--loss", type=float, default=0.05, help="largest loss of accuracy that counts")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--report", help="where to write the table, too")
    args = parser.parse_args()
    plain = {name: value for name, value in vars(args).items() if name not in ("seeds", "variants", "report", "folder")}
    with RunFolder(args.folder, plain, {}, resume=True) as folder:
        laboratory = Laboratory(args, folder)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in args.variants}
        checked = laboratory.scorers[True].test_accuracy(Plan()) if args.check_images else float("nan")
        for seed in range(args.seeds):
            for name in args.variants:
                found[name].append(laboratory.run(name, seed))
                there = [(a, e) for _, a, e in found[name][-1]["trace"]]
                reached = score(there, laboratory.dense, args.loss)
                print(f"{name}, seed {seed}: {len(there)} candidates, score {reached:.3f}", flush=True)
            text = report(args, {n: runs for n, runs in found.items() if runs}, laboratory.dense, checked, laboratory.target)
            if args.report:
                write_file(args.report, text)
    print(text)


if __name__ == "__main__":
    main()
