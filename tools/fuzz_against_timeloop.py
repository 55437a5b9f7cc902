"""Runs random cases through the real `timeloop-model` (on PATH) and through hwloop, and prints where they differ.

    python tools/fuzz_against_timeloop.py --cases 500                    # dense
    python tools/fuzz_against_timeloop.py --cases 500 --sparse --keep failures/
    python tools/fuzz_against_timeloop.py --replay failures/case.json

Exit status 1 when a case differs. `--keep` writes each differing case as JSON, in the format of the reference corpora.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from fuzz_cases import random_case

from hwloop.backend.timeloop.inputs import model_input
from hwloop.backend.timeloop.programs import Timeloop
from hwloop.backend.timeloop.stats import parse_stats
from hwloop.errors import HwloopError, InfeasibleMappingError, SimulatorError
from hwloop.simulator import simulate, simulate_batch
from hwloop.spec.architecture import load_architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.constraints import Constraints, LoopConstraint
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.loops import REUSE_FLAGS
from hwloop.spec.mapping import Mapping, load_mapping
from hwloop.spec.problem import load_problem
from hwloop.validate.compare import compare_costs, compare_stats


def check(case: dict[str, Any], timeloop: Timeloop) -> tuple[str, list[str]]:
    """Runs one case both ways.

    Returns:
        `equal`, `both refuse, ...`, `crash` (the real program's), `differ` or `error`, and what differs.
    """
    problem, architecture = load_problem(case["problem"]), load_architecture(case["arch"])
    mapping, table = load_mapping(case["mapping"]), _table(case)
    searched = architecture.with_constraints(_forbidden(mapping))
    batch = MappingBatch.from_mappings([mapping], problem.shape, problem.bounds, searched)
    document = model_input(problem, architecture, batch.to_mapping(0, problem.shape, searched), table)
    if case.get("bits") or any(density.level for _, density in problem.densities):
        return _check_bits(case, timeloop)
    stats: dict[str, Any] | None = None
    refusal = ""
    try:
        stats = parse_stats(timeloop.run_model(document))
    except InfeasibleMappingError as error:
        refusal = error.reason
    except SimulatorError as error:
        lines = [line for line in str(error).splitlines() if not line.startswith("Warning")]
        return "crash", [" | ".join(lines[-2:])]
    try:
        cost = simulate(problem, architecture, mapping, table)
    except InfeasibleMappingError as error:
        return (_refused(refusal), []) if stats is None else ("differ", [f"hwloop refuses what Timeloop runs: {error.reason}"])
    except HwloopError as error:
        return "error", [f"{type(error).__name__}: {error}"]
    if stats is None:
        return "differ", [f"Timeloop refuses what hwloop runs: {refusal}"]
    differ = [d for equal, d in compare_stats(cost, stats) if not equal]
    wrong = [f"{d.quantity} {d.where}: Timeloop {d.expected}, hwloop {d.found}" for d in differ]
    many = simulate_batch(problem, searched, MappingBatch.concatenate([batch] * 3), table)
    if (
        not many.feasible.all()
        or many.cycles[2] != cost.cycles
        or not math.isclose(many.energy_pj[2], cost.energy_pj, rel_tol=1e-9)
    ):
        wrong.append(f"batch: {many.feasible[2]}, {many.cycles[2]} cycles, {many.energy_pj[2]} pJ")
    return ("differ" if wrong else "equal"), wrong


def _table(case: dict[str, Any]) -> EnergyTable:
    table, areas = load_energy_table(dict(case["ert"])), case.get("areas") or {}
    return EnergyTable(tuple(replace(c, area_um2=areas.get(c.name)) for c in table.components))


def _forbidden(mapping: Mapping) -> Constraints:
    """Constraints that forbid the reuse that a mapping forbids: batches of mappings have it from there."""
    flags = [(entry, {name: getattr(entry, name) for name in REUSE_FLAGS if getattr(entry, name)}) for entry in mapping.loops]
    return Constraints(tuple(LoopConstraint(entry.target, entry.kind, **given) for entry, given in flags if given))


def _check_bits(case: dict[str, Any], timeloop: Timeloop) -> tuple[str, list[str]]:
    """Mixed precision: the real program on split levels."""
    problem, architecture = load_problem(case["problem"]), load_architecture(case["arch"])
    mapping, table, bits = load_mapping(case["mapping"]), load_energy_table(dict(case["ert"])), case["bits"]
    refusals = []
    costs = []
    for run in (timeloop.simulate, simulate):
        try:
            costs.append(run(problem, architecture, mapping, table, bits))
        except InfeasibleMappingError as error:
            refusals.append(f"{'hwloop' if run is simulate else 'Timeloop'} refuses: {error.reason}")
        except SimulatorError as error:
            lines = str(error).splitlines()
            return ("cannot say", []) if "finished values" in lines[0] else ("crash", [lines[-1]])
    if len(refusals) == 2:
        return _refused(refusals[0]), []
    if refusals:
        return "differ", refusals
    wrong = [d for equal, d in compare_costs(costs[1], costs[0]) if not equal]
    return ("differ" if wrong else "equal"), [f"{d.quantity} {d.where}: Timeloop {d.expected}, hwloop {d.found}" for d in wrong]


def _refused(reason: str) -> str:
    kinds = {"ranks": "compression ranks", "capacity": "capacity", "utilization": "utilization"}
    return "both refuse, " + next((kind for kind, words in kinds.items() if words in reason), "other")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first case; case i has seed + i")
    parser.add_argument("--sparse", action="store_true")
    parser.add_argument("--bits", action="store_true", help="bits of their own for some data spaces")
    parser.add_argument("--levels", action="store_true", help="bits by level, results that wait, maps that stay on chip")
    parser.add_argument("--imperfect", action="store_true", help="factors with remainders")
    parser.add_argument("--networks", action="store_true", help="networks that cost something")
    parser.add_argument("--reuse", action="store_true", help="mappings that forbid reuse")
    parser.add_argument("--keep", type=Path, help="folder for the cases that differ")
    parser.add_argument("--replay", type=Path, nargs="+", help="cases that were kept")
    args = parser.parse_args(arguments)
    timeloop = Timeloop.find(timeout_s=20)
    if args.replay:
        cases = [(path.stem, json.loads(path.read_text())) for path in args.replay]
    else:
        options = ("imperfect", "bits", "networks", "reuse", "levels")
        kind = "-".join(["sparse" if args.sparse else "dense", *(option for option in options if getattr(args, option))])
        names = [f"{kind}-{seed}" for seed in range(args.seed, args.seed + args.cases)]
        chosen = [getattr(args, option) for option in options]
        cases = [(name, random_case(Random(name), args.sparse, *chosen)) for name in names]
    verdicts: Counter[str] = Counter()
    start = time.perf_counter()
    for name, case in cases:
        verdict, differences = check(case, timeloop)
        verdicts[verdict] += 1
        if verdict == "crash":
            print(f"{name}: the real program crashed: {differences[0][-300:]}", flush=True)
        elif verdict not in ("equal", "cannot say") and not verdict.startswith("both"):
            print(f"{name} ({case.get('shape', '')}): {verdict}", *differences[:4], sep="\n  ", flush=True)
            if args.keep:
                args.keep.mkdir(parents=True, exist_ok=True)
                (args.keep / f"{name}.json").write_text(json.dumps(case | {"differences": differences}, indent=1))
    print(f"{dict(verdicts)} in {time.perf_counter() - start:.0f} s")
    return 1 if verdicts["differ"] or verdicts["error"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
