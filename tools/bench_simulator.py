"""How fast the embedded simulator is: one mapping, batches of several sizes, memory. Prints rates; run it on an idle core.

python tools/bench_simulator.py [--seconds 2] [--sparse] [--heavy] [--architecture arch_specs/flexible_skipping.yaml]
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import hwloop  # noqa: E402
from hwloop.simulator import BatchSimulator  # noqa: E402
from hwloop.spec.architecture import Architecture, load_architecture  # noqa: E402
from hwloop.spec.batch import SPATIAL_X, SPATIAL_Y, TEMPORAL, MappingBatch  # noqa: E402
from hwloop.spec.energy_table import EnergyTable, load_energy_table  # noqa: E402
from hwloop.spec.problem import Problem, conv2d_shape, make_problem  # noqa: E402

# Three storage levels, each with formats of four to two ranks for all three data spaces, gating and skipping between them.
HEAVY = """
architecture:
  version: 0.4
  nodes:
  - !Component
    name: DRAM
    class: DRAM
    attributes: {width: 64, datawidth: 16, metadata_datawidth: 6, metadata_storage_width: 60}
    sparse_optimizations: {representation_format: {data_spaces: [DRAM_FORMATS]}}
  - !Component
    name: buffer
    class: SRAM
    attributes: {depth: 65536, width: 64, datawidth: 16, metadata_datawidth: 6, metadata_storage_width: 60,
                 metadata_storage_depth: 65536}
    sparse_optimizations:
      representation_format: {data_spaces: [BUFFER_FORMATS]}
      action_optimization:
      - {type: skipping, options: [{target: Inputs, condition_on: [Weights]}, {target: Weights, condition_on: [Inputs]}]}
      - {type: skipping, options: [{target: Outputs, condition_on: [Weights, Inputs]}]}
  - !Container
    name: PE_column
    spatial: {meshX: 16, meshY: 1}
  - !Container
    name: PE
    spatial: {meshX: 1, meshY: 16}
  - !Component
    name: spad
    class: SRAM
    attributes: {depth: 1024, width: 16, datawidth: 16, metadata_datawidth: 6, metadata_storage_width: 24,
                 metadata_storage_depth: 4096}
    sparse_optimizations:
      representation_format: {data_spaces: [SPAD_FORMATS]}
      action_optimization:
      - {type: gating, options: [{target: Inputs, condition_on: [Weights]}]}
      - {type: gating, options: [{target: Outputs, condition_on: [Weights, Inputs]}]}
  - !Component
    name: mac
    class: intmac
    attributes: {datawidth: 16}
    sparse_optimizations: {compute_optimization: [{type: gating}]}
"""
HEAVY_RANKS = {"DRAM": ("UOP", "UOP", "UOP", "CP"), "BUFFER": ("UOP", "UOP", "CP"), "SPAD": ("UOP", "CP")}
REAL_SECONDS = 0.25  # one run of the real timeloop-model with a ready energy table (see the design)


def heavy_architecture() -> Architecture:
    """`HEAVY` with its formats."""
    text = HEAVY
    for level, kinds in HEAVY_RANKS.items():
        ranks = ", ".join(f"{{format: {kind}, flattened_rankIDs: [[C, M, R, S, N, P, Q]]}}" for kind in kinds)
        spaces = ", ".join(f"{{name: {name}, ranks: [{ranks}]}}" for name in ("Weights", "Inputs", "Outputs"))
        text = text.replace(f"{level}_FORMATS", spaces)
    return load_architecture(text)


def heavy_table() -> EnergyTable:
    """Made-up energies: speed does not depend on them."""
    storage = {"read": 10.0, "write": 10.0, "gated_read": 1.0, "metadata_read": 2.0, "metadata_write": 2.0}
    return load_energy_table({"DRAM": storage, "buffer": storage, "spad": storage, "mac": {"compute": 1.0}})


def conv3_2(sparse: bool) -> Problem:
    """VGG-16's conv3_2."""
    densities = {"Weights": 0.3, "Inputs": 0.6} if sparse else None
    return make_problem(conv2d_shape(), {"C": 256, "M": 256, "P": 56, "Q": 56, "R": 3, "S": 3}, densities, "conv3_2")


def random_batch(problem: Problem, architecture: Architecture, size: int, seed: int) -> MappingBatch:
    """Mappings whose prime factors and orders are drawn at random; spatial factors within the fan-out."""
    rng = np.random.default_rng(seed)
    levels, dims = architecture.storage, problem.shape.dimensions
    factors = np.ones((size, len(levels), 3, len(dims)), np.int64)
    room = [list(fan) for fan in architecture.fanout]
    slots = [(i, TEMPORAL, 10**9) for i, level in enumerate(levels) if level.kind != "spatial"]
    slots += [(i, axis, fan) for i, (x, y) in enumerate(room) for axis, fan in ((SPATIAL_X, x), (SPATIAL_Y, y)) if fan > 1]
    primes = [(d, p) for d, bound in enumerate(problem.bounds) for p in _primes(bound)]
    rows = np.arange(size)
    for d, p in primes:
        choice = rng.integers(0, len(slots), size)
        for s, (level, axis, fan) in enumerate(slots):
            mine = rows[choice == s]
            fits = factors[mine, level, axis].prod(axis=1) * p <= fan
            factors[mine[fits], level, axis, d] *= p
            factors[mine[~fits], 0, TEMPORAL, d] *= p
    order = rng.permuted(np.broadcast_to(np.arange(len(dims), dtype=np.int8), (size, len(levels), len(dims))), axis=2)
    spaces = [d.name for d in problem.shape.data_spaces]
    keep = np.array([[_keeps(architecture, i, s) for s in spaces] for i in range(len(levels))])
    return MappingBatch(factors, order, np.broadcast_to(keep, (size, *keep.shape)).copy())


def _keeps(architecture: Architecture, level: int, data_space: str) -> bool:
    if architecture.storage[level].kind == "spatial":
        return False
    constraint = architecture.constraints.data_space(architecture.storage[level].name)
    return constraint is None or data_space not in constraint.bypass


def near_batch(problem: Problem, architecture: Architecture, table: EnergyTable, size: int, seed: int) -> MappingBatch:
    """The mapper's best with other loop orders and some prime factors moved from one level to another."""
    best = hwloop.map_problem(problem, architecture, table, effort="quick").mapping
    batch = MappingBatch.from_mappings([best], problem.shape, problem.bounds, architecture)[np.zeros(size, np.int64)]
    rng = np.random.default_rng(seed)
    factors = batch.factors.copy() if batch.remainders is None else np.ones_like(batch.factors)
    stored = [i for i, level in enumerate(architecture.storage) if level.kind != "spatial"]
    if batch.remainders is not None:  # imperfect factors: everything to the outermost level
        factors[:, 0, TEMPORAL] = problem.bounds
    rows = np.arange(size)
    for _ in range(4):
        source, target = rng.choice(stored, (2, size))
        d, prime = rng.integers(factors.shape[3], size=size), rng.choice((2, 3, 7), size)
        moves = (factors[rows, source, TEMPORAL, d] % prime == 0) & (source != target)
        factors[rows[moves], source[moves], TEMPORAL, d[moves]] //= prime[moves]
        factors[rows[moves], target[moves], TEMPORAL, d[moves]] *= prime[moves]
    return replace(batch, factors=factors, order=rng.permuted(batch.order, axis=2), remainders=None)


def feasible_batch(
    simulator: BatchSimulator, architecture: Architecture, problem: Problem, table: EnergyTable, size: int
) -> MappingBatch:
    """Different mappings that fit, repeated to `size`: random ones, or some near the mapper's best where none of those fits."""
    parts = []
    for draw in (random_batch, lambda p, a, count, seed: near_batch(p, a, table, count, seed)):
        for seed in range(1, 13):
            drawn = draw(problem, architecture, 16384, seed)
            parts.append(drawn[np.flatnonzero(simulator.run(drawn).feasible)])
            if seed > 1 and sum(map(len, parts)) >= size:
                break
        if any(map(len, parts)):
            break
    found = MappingBatch.concatenate(parts)
    return found[np.arange(size) % len(found)]


def _seconds(call: Callable[[], object], enough: float) -> float:
    """Processor time of one call [s], the best of three series."""
    best = float("inf")
    for _ in range(3):
        start, done = time.process_time(), 0
        while time.process_time() - start < enough / 3:
            call()
            done += 1
        best = min(best, (time.process_time() - start) / done)
    return best


def _primes(n: int) -> list[int]:
    out, p = [], 2
    while n > 1:
        while n % p == 0:
            out.append(p)
            n //= p
        p += 1
    return out


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default=str(ROOT / "arch_specs" / "eyeriss_168.yaml"))
    parser.add_argument("--heavy", action="store_true", help="three storage levels with formats for all data spaces; sparse")
    parser.add_argument("--energy-table", default=None, help="default: the table beside the architecture")
    parser.add_argument("--sparse", action="store_true", help="with densities 0.3 (weights) and 0.6 (inputs)")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each measurement runs")
    args = parser.parse_args()
    if args.heavy:
        name, architecture, table = "three levels with heavy formats", heavy_architecture(), heavy_table()
    else:
        name, architecture = Path(args.architecture).stem, hwloop.load_architecture(args.architecture)
        table = hwloop.load_energy_table(args.energy_table or args.architecture.replace(".yaml", ".ert.yaml"))
    problem = conv3_2(args.sparse or args.heavy)
    simulator = BatchSimulator(problem, architecture, table)
    batch = random_batch(problem, architecture, 16384, seed=0)
    share = simulator.run(batch).feasible.mean()
    fitting = feasible_batch(simulator, architecture, problem, table, 16384)
    distinct = len(np.unique(fitting.factors, axis=0))
    print(f"conv3_2 on {name}; {distinct} different sets of factors that fit; rates by processor time, one core")
    mappings = [fitting.to_mapping(row, problem.shape, architecture) for row in range(64)]
    each = _seconds(lambda: [simulator.scalar.run(mapping) for mapping in mappings], args.seconds) / len(mappings)
    print(f"simulate: {each * 1e3:.3f} ms a mapping, {REAL_SECONDS / each:,.0f} times the real program's rate")
    for name, found in (("all of which fit", fitting), *([(f"{share:.1%} of which fit", batch)] if share else [])):
        for size in (64, 1024, 16384):
            part = found[slice(0, size)]
            each = _seconds(lambda: simulator.run(part), args.seconds)  # noqa: B023
            rate = size / each
            print(
                f"simulate_batch, {size:6d} mappings, {name}: {each * 1e3:8.3f} ms, {rate:10,.0f} mappings/s, "
                f"{rate * REAL_SECONDS:,.0f} times the real program's rate"
            )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
