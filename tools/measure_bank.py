"""What layers of the bank cost in test accuracy, without any training: a table in Markdown.

python tools/measure_bank.py resnet20 --weights shared/data/checkpoints/resnet20-12fca82f.th --data-root data --images 2000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from hwloop.network.accuracy.candidates import CompressedNetwork
from hwloop.network.bank.bank import IMAGES, Bank
from hwloop.network.bank.layer import Settings
from hwloop.network.data.load import load_data
from hwloop.network.tracing.registry import register
from hwloop.network.zoo.models import load_weights, make_model
from hwloop.spec.plan import make_plan
from hwloop.spec.pruning import BlockPattern

# (what it is called, density, weight bits, activation bits)
CASES: tuple[tuple[str, float | BlockPattern, int | None, int | None], ...] = (
    ("W4A8", 1.0, 4, 8),
    ("W3A8", 1.0, 3, 8),
    ("W2A8", 1.0, 2, 8),
    ("50%", 0.5, None, None),
    ("50%, W5", 0.5, 5, None),
    ("50%, W4A8", 0.5, 4, 8),
    ("2:4", BlockPattern(2, 4), None, None),
    ("2:4, W4A8", BlockPattern(2, 4), 4, 8),
    ("60%", 0.4, None, None),
    ("70%", 0.3, None, None),
    ("80%", 0.2, None, None),
)
BATCHNORM_IMAGES = 1024
# (what it is called, method, images for BatchNorm, augmented, bias correction)
WAYS = (
    ("plain", "plain", 0, False, False),
    ("columns", "columns", 0, False, False),
    ("auto", "auto", 0, False, False),
    ("auto, bias correction", "auto", 0, False, True),
    ("auto, BatchNorm plain", "auto", BATCHNORM_IMAGES, False, False),
    ("auto, BatchNorm augmented", "auto", BATCHNORM_IMAGES, True, False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--normalisation", default="imagenet")
    parser.add_argument("--images", type=int, default=2000, help="test images, drawn by class with seed 0")
    parser.add_argument("--calibration", type=int, default=IMAGES, help="training images that layers are seen on")
    parser.add_argument("--cases", nargs="+", choices=[name for name, *_ in CASES], default=[name for name, *_ in CASES])
    parser.add_argument("--ways", nargs="+", choices=[name for name, *_ in WAYS], default=[name for name, *_ in WAYS])
    parser.add_argument("--seed", type=int, default=0, help="of the choice of calibration images")
    arguments = parser.parse_args()
    cases = [case for case in CASES if case[0] in arguments.cases]
    ways = [way for way in WAYS if way[0] in arguments.ways]
    torch.set_num_threads(1)
    splits = load_data(arguments.data, arguments.data_root, normalisation=arguments.normalisation)
    test = splits.test.subset(arguments.images, 0)
    splits = replace(splits, load_test=lambda: test)
    model = make_model(arguments.model).eval()
    load_weights(model, arguments.weights)
    registry = register(model, splits.example_input, arguments.model)
    dense = CompressedNetwork(model, None, splits, registry).test_accuracy(make_plan(registry.workload))
    print(f"Dense: {100 * dense:.2f}% of {len(test)} test images.\n")
    print("| | " + " | ".join(name for name, *_ in ways) + " |", flush=True)
    print("|---" * (1 + len(ways)) + "|")
    with tempfile.TemporaryDirectory() as folder:
        calibration = splits.train.subset(arguments.calibration, arguments.seed)
        banks = {method: Bank(Path(folder), calibration, Settings(method=method)) for method in ("plain", "columns", "auto")}
        networks = [
            CompressedNetwork(
                model, None, splits, registry, bank=banks[method], batchnorm_images=images, batchnorm_augmented=augmented,
                bias_correction=corrects, seed=arguments.seed,
            )
            for _, method, images, augmented, corrects in ways
        ]  # fmt: skip
        used = list(dict.fromkeys(way[1] for way in ways))
        times = []
        for method in used:
            banks[method].seen = banks[used[0]].seen
        for name, density, weight_bits, activation_bits in cases:
            for method in used:
                base = banks[method].base(model, registry)
                base.entry(registry.entries[0].name, 0.99)  # so that the Hessians are there
                each = []
                for entry in registry.entries:
                    began = time.process_time()
                    base.entry(entry.name, density, weight_bits or 0)
                    each.append(time.process_time() - began)
                times.append(f"{name}, {method}: {sum(each):.1f} s for {len(each)} layers, {max(each):.2f} s at most")
            plan = make_plan(registry.workload, density, weight_bits=weight_bits, activation_bits=activation_bits)
            found = [f"{100 * network.test_accuracy(plan):.2f}" for network in networks]
            print(f"| {name} | " + " | ".join(found) + " |", flush=True)
        print("\nCPU time of making the entries, Hessians apart:", *times, sep="\n- ")


if __name__ == "__main__":
    main()
