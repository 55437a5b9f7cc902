"""Reads specs that people wrote, unedited, with the real programs and with hwloop, and tables what agrees.

    python tools/check_specs.py FOLDER [FOLDER ...] --front-end PYTHON [--most 8] [--json FILE]

Each folder is one source. PYTHON is an interpreter that has timeloopfe; the Timeloop programs are on PATH. Where a set has no
energy table, one of synthetic numbers is given to both, so that estimators that a source needs and this machine lacks decide
nothing. Where a set has no mapping, the real mapper finds one within a short search, else hwloop's mapper; both cost it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import yaml
from spec_sets import SpecSet, spec_sets
from upstream import Answer, FrontEnd, run_program

import hwloop
from hwloop.backend.timeloop.stats import parse_stats
from hwloop.errors import HwloopError
from hwloop.report.tables import table
from hwloop.spec.document import parse_yaml
from hwloop.validate.causes import UNEXPLAINED, Explainer
from hwloop.validate.compare import compare_stats

MODEL, MAPPER = "timeloop-model", "timeloop-mapper"
SEARCH = {"mapper": {"version": 0.4, "optimization_metrics": ["delay", "energy"], "algorithm": "random", "num_threads": 1,
                     "victory_condition": 100, "timeout": 1500, "search_size": 1500, "live_status": False}}  # fmt: skip
_CONSTRAINTS = {"architecture_constraints", "arch_constraints", "mapspace_constraints", "mapspace", "constraints"}
_NO_MAPPING = re.compile(r"termination message|overflow detected|no answer in")


@dataclass
class Verdict:
    """What became of one set.

    Attributes:
        files: relative to the source.
        variables: of the template.
        answered: whether the real program costs it; `reason` where not.
        mapping: where the mapping is from.
        read: whether hwloop reads all of it as written.
        equal: whether cycles, counts and energies agree; None when there is nothing to compare.
        differences: what does not, or why hwloop refuses.
        causes: of the differences, as far as they can be shown.
    """

    files: list[str]
    variables: dict[str, Any]
    answered: bool = False
    reason: str = ""
    mapping: str = ""
    read: bool = False
    equal: bool | None = None
    differences: list[str] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)


def component_names(document: Any) -> list[str]:
    """The names under `subtree`, or under `storage` and `arithmetic`."""
    top = document.get("architecture") or document.get("arch") or {} if isinstance(document, dict) else {}
    if "storage" in top:
        return [s["name"] for s in top["storage"]] + [top["arithmetic"].get("name", "__ARITH__")]
    found: list[str] = []
    branches = [top]
    for branch in branches:
        found += [re.sub(r"\[.*", "", str(c.get("name"))) for c in branch.get("local") or []]
        branches += branch.get("subtree") or []
    return found


def synthetic_table(names: list[str], wires: bool) -> dict[str, Any]:
    """Energies [pJ] and areas [um^2] of any numbers, the same for the same names."""
    rng = Random(7)
    tables, areas = [], []
    shares = {
        "read": 1.0, "write": 1.1, "update": 1.2, "leak": 0.001, "compute": 0.1, "gated_read": 0.05, "gated_write": 0.06,
        "metadata_read": 0.2, "metadata_write": 0.22, "gated_metadata_read": 0.01, "gated_metadata_write": 0.02,
        "decompression_count": 0.3, "compression_count": 0.31, "mac_gated": 0.03, "mac_skipped": 0.02,
    }  # fmt: skip
    for name in dict.fromkeys(names):
        pj = rng.uniform(0.5, 20)
        actions = [{"name": a, "arguments": {}, "energy": round(pj * share, 6)} for a, share in shares.items()]
        tables.append({"name": f"system.{name}", "actions": actions})
        areas.append({"name": f"system.{name}", "area": round(rng.uniform(10, 5000), 1)})
    if wires:
        tables.append({"name": "system.wire", "actions": [{"name": "transfer_random", "arguments": {}, "energy": 0.1}]})
    return {"ERT": {"version": 0.4, "tables": tables}, "ART": {"version": 0.4, "tables": areas}}


def without(text: str, keys: set[str]) -> str:
    """YAML text without these top-level fields, for the real program's own run."""
    kept, skip = [], False
    for line in text.splitlines():
        top = re.match(r"([A-Za-z_]+)\s*:", line)
        skip = top[1] in keys if top else skip
        kept += [] if skip else [line]
    return "\n".join(kept) + "\n"


class Checker:
    """Runs sets both ways."""

    def __init__(self, front_end: FrontEnd, wires: bool) -> None:
        self._front_end = front_end
        self._wires = wires

    def check(self, root: Path, chosen: SpecSet) -> Verdict:
        """One set."""
        files = [f.path for f in chosen.files]
        verdict = Verdict([str(f.relative_to(root)) for f in files], dict(chosen.variables))
        texts = [f.text for f in chosen.files]
        to_model = to_mapper = texts
        if chosen.form == "nodes":
            expanded = self._front_end.expand(files, chosen.variables)
            if "error" in expanded:
                verdict.reason = f"front end: {expanded['error']}"
            else:
                to_model, to_mapper = [expanded[MODEL]], [expanded[MAPPER]]
        energies: Any = [f.path for f in chosen.files if "ERT" in f.keys] if chosen.form != "nodes" else []
        if not energies and not verdict.reason:
            names = [n for text in to_mapper for n in component_names(_parsed(text))]
            energies = synthetic_table(names, self._wires)
        answer = Answer(None, None, verdict.reason)
        tables = [yaml.safe_dump(energies, sort_keys=False)] if isinstance(energies, dict) else []
        if not verdict.reason:
            answer = self._ask(chosen, to_model, to_mapper, tables, verdict)
        self._read(root, chosen, files, energies, answer, [to_mapper, tables], verdict)
        return verdict

    def _ask(self, chosen: SpecSet, to_model: list[str], to_mapper: list[str], tables: list[str], verdict: Verdict) -> Answer:
        answer = Answer(None)
        if "mapping" in chosen.keys or chosen.form == "nodes":
            answer = run_program(MODEL, [*(without(t, {"mapper"}) for t in to_model), *tables], 40)
            verdict.mapping = "its own"
        if answer.stats is None:
            texts = [without(t, {"mapper", "mapping"}) for t in to_mapper]
            answer = run_program(MAPPER, [*texts, *tables, yaml.safe_dump(SEARCH)], 60)
            verdict.mapping = "the real mapper's"
        verdict.answered, verdict.reason = answer.stats is not None, answer.reason
        return answer

    def _read(
        self,
        root: Path,
        chosen: SpecSet,
        files: list[Path],
        energies: Any,
        answer: Answer,
        texts: list[list[str]],
        verdict: Verdict,
    ) -> None:
        source: Any = files if len(files) > 1 else files[0]
        options: dict[str, Any] = {"variables": chosen.variables, "include": [root]}
        try:
            arch, problem = hwloop.load_architecture(source, **options), hwloop.load_problem(source, **options)
            mapping = hwloop.load_mapping(answer.mapping or source, **options)
            verdict.read = True
            if not energies:
                return
            ert = hwloop.load_energy_table(energies)
            if answer.stats is None and _NO_MAPPING.search(answer.reason):
                mapping = hwloop.map_problem(problem, arch, ert, effort="quick").mapping
                given = [without(t, {"mapper", "mapping", *_CONSTRAINTS}) for t in texts[0]]
                answer = run_program(MODEL, [*given, *texts[1], mapping.to_yaml()], 40)
                verdict.mapping, verdict.answered = "hwloop's", answer.stats is not None
                verdict.reason = "" if verdict.answered else verdict.reason
            if answer.stats is None:
                return
            cost = hwloop.simulate(problem, arch, mapping, ert)
        except HwloopError as error:
            verdict.differences = [str(error)]
            verdict.equal = False if verdict.answered else None
            return
        stats = parse_stats(answer.stats)
        pairs = compare_stats(cost, stats)
        verdict.differences = [str(d) for same, d in pairs if not same]
        verdict.equal = not verdict.differences
        if verdict.differences:
            causes = Explainer(problem, arch, mapping, ert).causes(pairs, lambda other: compare_stats(other, stats))
            verdict.causes = sorted({cause for cause in causes if cause})


def _parsed(text: str) -> Any:
    try:
        return parse_yaml(text, "<text>", lenient=True)
    except HwloopError:
        return None


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--front-end", required=True, metavar="PYTHON", help="an interpreter that has timeloopfe")
    parser.add_argument("--most", type=int, default=8, help="sets of each source (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice among more")
    parser.add_argument("--wires", action="store_true", help="a `wire` entry in the synthetic tables")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append one verdict a line")
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore", hwloop.SpecWarning)
    checker = Checker(FrontEnd(args.front_end), args.wires)
    rows = []
    for root in args.folders:
        counts: Counter[str] = Counter()
        for chosen in spec_sets(root.resolve(), args.most, args.seed):
            verdict = checker.check(root.resolve(), chosen)
            counts["tried"] += 1
            counts["answered"] += verdict.answered
            counts["read"] += verdict.answered and verdict.read
            counts["equal"] += verdict.equal is True
            counts["known"] += bool(verdict.causes) and UNEXPLAINED not in verdict.causes
            if verdict.equal is not True:
                print(
                    f"{root.name}: {' + '.join(verdict.files)}: {verdict.reason or verdict.differences[:3]} {verdict.causes}",
                    flush=True,
                )
            if args.json:
                with args.json.open("a") as file:
                    file.write(json.dumps({"source": root.name} | asdict(verdict)) + "\n")
        rows.append((root.name, *(str(counts[k]) for k in ("tried", "answered", "read", "equal", "known"))))
    print(table(rows, ("source", "sets tried", "real program answers", "read as written", "equal", "differ for a known cause")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
