"""Candidates a second of a search's accuracy, against a plain loop over them; the same answers. Prints a table.

python tools/bench_accuracy.py [--network lenet5 resnet20 vgg16_cifar10] [--data-root DATA] [--weights CHECKPOINT]

The candidates are those that an evolution really asks for: a population in generations, children that change one to three layers
of a member of the front, each layer with a density and bits of its own (`layers`); or the whole network one of eight densities
and each layer bits of its own, as NSGA-II draws them (`global`). Costs are weights times bits. The plain loop copies the network
for each candidate, prunes and rounds it, measures the ranges of its activations and scores it in batches of 64; it runs on every
so many candidates, one generation after the other in turn, and each of its answers must be ours, or below our bound and
dominated. `plain` runs it in torch's usual memory layout, `last` in channels_last, which gives our bits. Rates by processor time,
one core.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hwloop.network.accuracy.candidates import CALIBRATION_IMAGES, CompressedNetwork  # noqa: E402
from hwloop.network.data.load import DataSplits, load_data  # noqa: E402
from hwloop.network.scoring import accuracy  # noqa: E402
from hwloop.network.tracing.operands import attach  # noqa: E402
from hwloop.network.transforms.apply import prune_, quantise_weights_, shares  # noqa: E402
from hwloop.network.transforms.calibrate import calibrate  # noqa: E402
from hwloop.network.transforms.quantize import activation_quantizer  # noqa: E402
from hwloop.network.zoo.models import load_weights, make_model  # noqa: E402
from hwloop.search.objectives import find_objectives  # noqa: E402
from hwloop.search.racing import Hopeless  # noqa: E402
from hwloop.search.records import Record, front  # noqa: E402
from hwloop.spec.plan import LayerPlan, Plan  # noqa: E402

DENSITIES = (1.0, 0.8, 0.65, 0.5, 0.4, 0.3, 0.2, 0.1)
WEIGHT_BITS, ACTIVATION_BITS = (2, 8), 8
OBJECTIVES = find_objectives(["accuracy", "size"])
Genes = np.ndarray[Any, np.dtype[np.int64]]


def to_plan(network: CompressedNetwork, row: Genes) -> Plan:
    """A density (by its place) and bits for each layer."""
    pairs = row.reshape(-1, 2).tolist()
    layers = zip(network.layers, pairs, strict=True)
    return Plan(tuple((name, LayerPlan(DENSITIES[d], weight_bits=b, activation_bits=ACTIVATION_BITS)) for name, (d, b) in layers))


def size(network: CompressedNetwork, row: Genes) -> float:
    """Bits of the weights that are kept."""
    entries = [network.registry.by_name[name] for name in network.layers]
    kept = [np.prod(entry.shape) * DENSITIES[d] * b for entry, (d, b) in zip(entries, row.reshape(-1, 2), strict=True)]
    return float(sum(kept))


def first(network: CompressedNetwork, count: int, rng: np.random.Generator) -> Genes:
    """Level candidates, from little to much, each layer a little apart."""
    layers = len(network.layers)
    level = np.stack([rng.integers(0, 5, count), rng.integers(4, WEIGHT_BITS[1] + 1, count)], axis=1)
    rows = np.tile(level, (1, layers)).reshape(count, layers, 2) + rng.integers(-1, 2, (count, layers, 2))
    rows[0] = 0, WEIGHT_BITS[1]
    return _inside(rows.reshape(count, -1))


def children(parents: Genes, count: int, space: str, rng: np.random.Generator) -> Genes:
    """Children of members of the front."""
    rows = parents[rng.integers(0, len(parents), count)].copy().reshape(count, -1, 2)
    for row in rows:
        if space == "global":
            row[:, 0] = np.clip(row[0, 0] + rng.integers(-1, 2), 0, len(DENSITIES) - 1)
            other = parents[rng.integers(0, len(parents))].reshape(-1, 2)
            mixed = rng.random(len(row)) < 0.5
            row[mixed, 1] = other[mixed, 1]
        for at in rng.choice(len(row), rng.integers(1, 4), replace=False):
            row[at] += rng.integers(-1, 2, 2) * ((1, 1) if space == "layers" else (0, 1))
    return _inside(rows.reshape(count, -1))


def _inside(rows: Genes) -> Genes:
    pairs = rows.reshape(len(rows), -1, 2)
    ends = (0, len(DENSITIES) - 1), WEIGHT_BITS
    return np.stack([np.clip(pairs[:, :, i], *ends[i]) for i in (0, 1)], axis=2).reshape(rows.shape)


def plain(model: nn.Module, network: CompressedNetwork, splits: DataSplits, plan: Plan, layout: torch.memory_format) -> float:
    """The accuracy of one candidate, as one would write it down."""
    new, registry = copy.deepcopy(model).to(memory_format=layout), network.registry  # type: ignore[call-overload]
    said = shares(plan, registry.workload)
    prune_(new, registry, said)
    calibration = calibrate(new, registry, splits.train.subset(CALIBRATION_IMAGES, 0), "mse")
    quantise_weights_(new, registry, said, clipping="mse")
    quantizer = activation_quantizer(registry, dict.fromkeys(network.layers, ACTIVATION_BITS), calibration)
    attach(new, registry, quantizer, quantizer.layers)
    return accuracy(new, splits.validation)


def generations(
    network: CompressedNetwork, space: str, size_of: int, count: int, seed: int
) -> Iterator[tuple[list[Record], float]]:
    """The records of each generation and the processor time that its accuracies took [s]."""
    rng = np.random.default_rng(seed)
    known: dict[Plan, Record] = {}
    row_of: dict[Plan, Genes] = {}
    rows = first(network, size_of, rng)
    for number in range(count):
        fresh = {to_plan(network, row): row for row in rows}
        fresh = {plan: row for plan, row in fresh.items() if plan not in known}
        row_of |= fresh
        costs = [{"size_bits": size(network, row), "energy_pj": 0.0} for row in fresh.values()]
        began = time.process_time()
        network.prepare(list(fresh))
        for plan in fresh:
            network.complete(plan)
        hopeless = Hopeless(costs, [record.metrics for record in known.values()], OBJECTIVES, ()) if number else None
        scores = network.accuracies(list(fresh), hopeless)
        taken = time.process_time() - began
        found = [
            Record(plan, {"accuracy" if exact else "accuracy_at_most": value} | cost)
            for plan, cost, (value, exact) in zip(fresh, costs, scores, strict=True)
        ]
        known |= {record.plan: record for record in found}
        yield found, taken
        held = front(known.values(), OBJECTIVES, ())
        rows = children(np.stack([row_of[record.plan] for record in held]), size_of, space, rng)


def seconds(call: Callable[[], float]) -> tuple[float, float]:
    """Processor time of a call [s], and what it gave."""
    start = time.process_time()
    found = call()
    return time.process_time() - start, found


def measure(model: nn.Module, splits: DataSplits, name: str, space: str, args: argparse.Namespace) -> str:
    """One line of the table."""
    network = CompressedNetwork(model, None, splits)
    ours = loop = last = 0.0
    candidates = exact = checked = off = apart = 0
    every: list[Record] = []
    rng = np.random.default_rng(1)
    for found, taken in generations(network, space, args.population, args.generations, args.seed):
        ours, candidates, exact = ours + taken, candidates + len(found), exact + sum("accuracy" in r.metrics for r in found)
        every += found
        for at in rng.choice(len(found), min(args.checked, len(found)), replace=False):
            metrics = found[at].metrics
            usual, value = seconds(lambda: plain(model, network, splits, found[at].plan, torch.contiguous_format))  # noqa: B023
            more, same = seconds(lambda: plain(model, network, splits, found[at].plan, torch.channels_last))  # noqa: B023
            loop, last, checked = loop + usual, last + more, checked + 1
            beaten = any(r.metrics["size_bits"] <= metrics["size_bits"] and r.metrics.get("accuracy", 0) > same for r in every)
            off += same != metrics["accuracy"] if "accuracy" in metrics else not (same <= metrics["accuracy_at_most"] and beaten)
            apart += value != same
    each, usual, more = ours / candidates, loop / checked, last / checked
    rates = f"{usual:9.3f} {more:9.3f} {each:9.3f} {usual / each:7.1f} {more / each:7.1f} {1 / each:13.2f}"
    return f"{name:14} {space:7} {rates} {candidates:10} {exact:6} {checked:8} {off:5} {apart:6}"


def data_of(name: str, args: argparse.Namespace) -> tuple[DataSplits, nn.Module]:
    """The network and what it is scored on: validation examples, or some of the test set where the checkpoint saw those."""
    splits = load_data("mnist" if name == "lenet5" else "cifar10", args.mnist_root if name == "lenet5" else args.data_root)
    model = make_model(name, splits.image_shape[0], splits.image_shape[1])
    if name in args.weights:
        splits = load_data("cifar10", args.data_root, normalisation="imagenet")
        load_weights(model, args.weights[name])
        splits = replace(splits, validation=splits.test)
    elif name == "lenet5":
        from hwloop.network.training.settings import TrainConfig
        from hwloop.network.training.trainer import train

        train(model, splits, TrainConfig(epochs=1))
    return replace(splits, validation=splits.validation.subset(args.images)), model.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", nargs="+", default=("lenet5", "resnet20", "vgg16_cifar10"))
    parser.add_argument("--space", nargs="+", default=("layers", "global"))
    parser.add_argument("--data-root", type=Path, help="of CIFAR-10")
    parser.add_argument("--mnist-root", type=Path)
    parser.add_argument("--weights", nargs="*", default=(), metavar="NETWORK=FILE")
    parser.add_argument("--images", type=int, default=5000, help="that each accuracy looks at")
    parser.add_argument("--population", type=int, default=40)
    parser.add_argument("--generations", type=int, default=12)
    parser.add_argument("--checked", type=int, default=1, help="candidates of each generation that the plain loop scores too")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    args.weights = dict(pair.split("=", 1) for pair in args.weights)
    torch.set_num_threads(1)
    header = f"{'plain':>9} {'last':>9} {'ours':>9} {'ratio':>7} {'to last':>7} {'candidates/s':>13}"
    print(f"{'network':14} {'space':7} {header} {'candidates':>10} {'exact':>6} {'checked':>8} {'wrong':>5} {'layout':>6}")
    for name in args.network:
        splits, model = data_of(name, args)
        for space in args.space:
            print(measure(model, splits, name, space, args), flush=True)


if __name__ == "__main__":
    main()
