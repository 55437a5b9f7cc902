"""How many images a second training learns from, by network, precision and image size; all in one run, in turn.

    python tools/bench_training.py                                   # the networks for small images, one thread
    python tools/bench_training.py --model resnet20 --sizes 16,24,32 --batch-size 64 --threads 2

Times are the processor's, so that other work on the machine does not count (wall clock on a GPU, with --device). Each figure is
the best of a few steps of the real trainer (augmentation and scaling included) on random images; `ratio` is against float32 at
the full size.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hwloop.network.data.samples import Augmentation, ImageSplit  # noqa: E402
from hwloop.network.data.splits import DataSplits  # noqa: E402
from hwloop.network.training.devices import find_device, precision_of  # noqa: E402
from hwloop.network.training.settings import TrainConfig  # noqa: E402
from hwloop.network.training.trainer import train  # noqa: E402
from hwloop.network.zoo.models import make_model  # noqa: E402

MODELS = ("lenet5", "resnet20", "vgg16_cifar10", "mobilenet_cifar10")
PRECISIONS = ("float32", "bfloat16")


def images(count: int, side: int) -> DataSplits:
    """Random images of 10 classes; nothing to validate on."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    part = ImageSplit(pixels, torch.arange(count) % 10, (0.5,) * 3, (0.25,) * 3)
    classes = tuple(map(str, range(10)))
    return DataSplits("noise", classes, part, part.take(torch.arange(0)), "noise", 0, None, Augmentation(4, True), lambda _: 0.0)


def rate(name: str, side: int, config: TrainConfig, steps: int, device: torch.device) -> float:
    """Images a second at best, from one step's forward pass to the next's."""
    torch.manual_seed(0)
    model = make_model(name, 3, side, 10).to(device)
    splits = images(config.batch_size * (steps + 2), side)
    times: list[float] = []

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def hook(_module: torch.nn.Module, _inputs: object) -> None:
        if torch.is_grad_enabled():
            times.append(clock())

    model.register_forward_pre_hook(hook)
    train(model, splits, config, clock=clock)
    return max(config.batch_size / (after - before) for before, after in pairwise(times[1:]))  # the first step warms up


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=MODELS, metavar="NAME")
    parser.add_argument("--side", type=int, default=32, help="of the full images [pixels]")
    parser.add_argument("--sizes", default="24,32", help="sides to train at (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4, help="of which the best counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = find_device(args.device)
    print(f"{device}, {args.threads} thread(s), batches of {args.batch_size}; images a second")
    print(f"{'network':22} {'pixels':>6} {'precision':>10} {'images/s':>9} {'ratio':>6}")
    for name in args.model:
        own = 0.0
        for side in sorted({args.side, *map(int, args.sizes.split(","))}, reverse=True):
            for precision in PRECISIONS:
                config = TrainConfig(epochs=1, batch_size=args.batch_size, sizes=(side,), precision=precision)
                try:
                    found = rate(name, args.side, config, args.steps, device)
                except RuntimeError:
                    print(f"{name:22} {side:6} does not take them")
                    break
                own = own or found
                auto = precision == precision_of(TrainConfig(), make_model(name, 3, args.side, 10).to(device))
                print(f"{name:22} {side:6} {precision:>10} {found:9.1f} {found / own:6.2f}{'  auto' * auto}", flush=True)


if __name__ == "__main__":
    main()
