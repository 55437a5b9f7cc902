"""Random specs as people write them, through hwloop and the real programs: container attributes, constraint sets, spellings.

    python tools/fuzz_reading.py --cases 500 --front-end PYTHON                    # nodes, through upstream's front end
    python tools/fuzz_reading.py --cases 500 --front-end PYTHON --kind tree        # what the front end wrote, rewritten
    python tools/fuzz_reading.py --cases 100 --front-end PYTHON --kind sets        # constraint sets, through timeloop-mapper

PYTHON is an interpreter that has timeloopfe; the Timeloop programs are on PATH. Exit status 1 when a case differs.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import yaml
from fuzz_cases import random_architecture, random_mapping, random_problem, random_table
from upstream import Answer, FrontEnd, run_program

import hwloop
from hwloop.backend.timeloop.stats import parse_stats
from hwloop.errors import HwloopError, InfeasibleMappingError, SpecError
from hwloop.mapper import check
from hwloop.validate.compare import compare_stats

KINDS = ("nodes", "tree", "sets")
SEARCH = {"mapper": {"version": 0.4, "optimization_metrics": ["delay", "energy"], "algorithm": "random", "num_threads": 1,
                     "victory_condition": 30, "timeout": 400, "search_size": 300, "live_status": False}}  # fmt: skip


def random_spec(rng: Random) -> dict[str, Any]:
    """A dense case whose mapping names nodes, as v0.4 has it: `arch`, `problem`, `mapping`, `ert`."""
    problem = random_problem(rng, rng.choice(("conv2d", "conv2d", "matmul")), False)
    spaces = [d["name"] for d in problem["shape"]["data_spaces"]]
    arch, levels = random_architecture(rng, problem, spaces, False)
    arch = re.sub(r"\n +constraints: \{dataspace: \{keep: (\[[^]]*\]), bypass: \[[^]]*\]\}\}", _keep_in_parallel, arch)
    arch = add_container_attributes(rng, arch)
    mapping = by_nodes(rng, random_mapping(rng, problem, levels, spaces, False), problem)
    mapping, arch = move_to_nodes(rng, mapping, arch)
    return {"arch": arch, "problem": problem, "mapping": mapping, "ert": dict(random_table(rng, levels, False)), "levels": levels}


def _keep_in_parallel(match: re.Match[str]) -> str:
    indent = len(match[0]) - len(match[0].lstrip("\n ")) - 1
    return match[0] if indent > 4 else ""  # the branches of !Parallel say what they keep


def add_container_attributes(rng: Random, arch: str) -> str:
    """Gives containers attributes that their components have too, lack, or nobody reads."""

    def some(match: re.Match[str]) -> str:
        pool = {
            "read_bandwidth": rng.choice((0.5, 1, 4, 16)), "write_bandwidth": rng.choice((0.5, 1, 4)), "shared_bandwidth": 3,
            "datawidth": rng.choice((8, 16)), "network_fill_latency": 2, "addr_gen_energy": 0.25, "multiple_buffering": 2,
            "min_utilization": 0.9, "reduction_supported": False, "nports": 2, "my_word": '"text"', "has_power_gating": True,
        }  # fmt: skip
        chosen = {k: v for k, v in pool.items() if rng.random() < 0.2}
        return match[0] + (f"\n    attributes: {json.dumps(chosen)}" if chosen else "")

    return re.sub(
        r"- !Container\n    name: box\d+\n    spatial: \{[^}]*\}|- !Container\n    name: pe\n    spatial: \{[^}]*\}", some, arch
    )


def by_nodes(rng: Random, mapping: list[dict[str, Any]], problem: dict[str, Any]) -> list[dict[str, Any]]:
    """The mapping as v0.4 writes it: spatial targets by their node, factors as a list, some orders incomplete."""
    dims = problem["shape"]["dimensions"]
    out = []
    for entry in mapping:
        node = re.fullmatch(r"inter_(\w+)_spatial", entry["target"])
        if entry["type"] == "bypass":
            if node is None:
                out.append({"target": entry["target"], "type": "dataspace", "keep": entry["keep"], "bypass": entry["bypass"]})
            continue
        loops = dict(part.split("=") for part in entry["factors"].split())
        order = list(entry["permutation"])
        split = entry.get("split")
        for d in dims if rng.random() < 0.5 else ():
            if d not in loops and split is None and rng.random() < 0.5:
                order.remove(d)
        done = {"target": node[1] if node else entry["target"], "type": entry["type"], "permutation": order}
        done["factors"] = [f"{d}={loops.get(d, 1)}" for d in dims if d in loops or rng.random() < 0.6]
        out.append(done | ({} if split is None else {"split": split}))
    return out


def move_to_nodes(rng: Random, mapping: list[dict[str, Any]], arch: str) -> tuple[list[dict[str, Any]], str]:
    """Some of the mapping becomes constraints of the nodes; some of that stays in both."""
    kept = []
    for entry in mapping:
        name = entry["target"]
        place = re.search(rf"\n( *)name: {name}\n", arch)
        own = "" if place is None else arch[place.end() :].split("- !", 1)[0]
        if place is None or rng.random() < 0.7 or "constraints:" in own:
            kept.append(entry)
            continue
        said = {k: v for k, v in entry.items() if k not in ("target", "type")}
        block = f"{place[1]}constraints: {json.dumps({entry['type']: said})}\n"
        arch = arch[: place.end()] + block + arch[place.end() :]
        if rng.random() < 0.3:
            kept.append(entry)
    return kept, arch


def rewritten(rng: Random, document: dict[str, Any]) -> dict[str, Any]:
    """The front end's tree as a person may write it: nested subtrees, attributes of containers, ranges from 0, other words."""
    (top,) = document["architecture"]["subtree"]
    local = top["local"]
    top["attributes"] = {"technology": "45nm", "global_cycle_seconds": 1e-9, "datawidth": 16, "read_bandwidth": 1, "depth": 64}
    for component in local:
        attributes = component["attributes"] = {k: v for k, v in component["attributes"].items() if v is not None}
        name, count = re.fullmatch(r"(\w+)\[1\.\.(\d+)\]", component["name"]).groups()  # type: ignore[union-attr]
        component["name"] = rng.choice((f"{name}[1..{count}]", f"{name}[0..{int(count) - 1}]"))
        if attributes.get("meshY") == 1 and rng.random() < 0.5:
            del attributes["meshY"]
        if rng.random() < 0.3 and "datawidth" in attributes:
            attributes[rng.choice(("word_bits", "word-bits", "word_width"))] = attributes.pop("datawidth")
        if rng.random() < 0.3 and "width" in attributes:
            attributes[rng.choice(("memory_width", "data_storage_width"))] = attributes.pop("width")
        if rng.random() < 0.3 and component["class"] != "dummy_storage":  # which a technology would make a storage to price
            attributes |= {"nports": 2, "technology": "45nm"}
    at = rng.randrange(len(local))
    if at:
        top["local"], inner = local[:at], local[at:]
        if rng.random() < 0.3:
            inner.insert(0, {"name": "adder[1..4]", "class": "intadder", "attributes": {"datawidth": 16}})
        top["subtree"] = [{"name": "inner", "attributes": {"datawidth": 8, "width": 64}, "local": inner}]
        if rng.random() < 0.3:
            inner.insert(0, inner.pop())  # the compute component need not be last
    for entry in document["mapping"]:
        if "permutation" in entry and rng.random() < 0.5:
            entry["permutation"] = " ".join(entry["permutation"])
    return document


def constraint_sets(rng: Random, case: dict[str, Any]) -> dict[str, Any]:
    """Sets that a mapping of the case keeps to, spread over architecture and mapspace; sometimes two say one thing."""
    sets: dict[str, list[dict[str, Any]]] = {"architecture_constraints": [], "mapspace_constraints": []}
    for entry in case["mapping"]:
        for name in sets:
            said: dict[str, Any] = {"target": entry["target"], "type": entry["type"]}
            if entry["type"] == "dataspace":
                said |= {"keep": [s for s in entry["keep"] if rng.random() < 0.3]}
            else:
                factors = [f for f in entry["factors"] if rng.random() < 0.15]
                said |= {"factors": [f if rng.random() < 0.6 else f.replace("=", rng.choice(("<=", ">="))) for f in factors]}
                if rng.random() < 0.15:
                    said["permutation"] = entry["permutation"]
                    said |= {"split": entry["split"]} if "split" in entry else {}
            sets[name].append(said)
    if rng.random() < 0.8:  # else both may say one thing
        seen: set[str] = set()
        for targets in sets.values():
            for said in targets:
                where = f"{said['target']} {said['type']}"
                said["factors"] = [f for f in said.get("factors", ()) if _new(seen, f"{where} {f[0]}")]
                said["keep"] = [s for s in said.get("keep", ()) if _new(seen, f"{where} {s}")]
                if "permutation" in said and not _new(seen, f"{where} permutation"):
                    said.pop("permutation")
                    said.pop("split", None)
    return {name: {"targets": [_tidy(s) for s in targets]} for name, targets in sets.items()}


def _new(seen: set[str], what: str) -> bool:
    return what not in seen and not seen.add(what)  # type: ignore[func-returns-value]


def _tidy(said: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in said.items() if v != []}


def judge(case: dict[str, Any], answer: Answer, sources: list[Path], found: bool) -> tuple[str, list[str]]:
    """`equal`, `both refuse`, `crash` or `differ`, and what differs."""
    try:
        arch, problem = hwloop.load_architecture(sources), hwloop.load_problem(case["problem"])
        mapping = hwloop.load_mapping(answer.mapping if found and answer.mapping else sources)
        if found and answer.stats is None:
            arch.for_problem(problem)
            return ("differ", [f"the mapper refuses: {answer.reason}"]) if "re-spec" in answer.reason else ("no mapping", [])
        cost = hwloop.simulate(problem, arch, mapping, case["ert"])
        inner = f"{arch.storage[-1].name} (temporal): loops are"  # there the real mapper ignores an order
        broken = [b for b in check(mapping, problem, arch) if not b.startswith(inner)] if found else []
    except InfeasibleMappingError as error:
        return ("both refuse", []) if answer.stats is None else ("differ", [f"hwloop refuses what Timeloop runs: {error.reason}"])
    except (HwloopError, SpecError) as error:
        if answer.stats is None:
            return "both refuse", []
        return "differ", [f"hwloop cannot read what Timeloop runs: {error}"]
    if answer.stats is None and "Can not find branch" in answer.reason:
        return "hwloop reads more", []  # a data space that no branch of !Parallel keeps passes them all
    if answer.stats is None:
        crash = "Assert" in answer.reason or "terminate" in answer.reason
        return ("crash" if crash else "differ"), [f"Timeloop refuses what hwloop runs: {answer.reason}"]
    wrong = [
        f"{d.quantity} {d.where}: {d.expected}, hwloop {d.found}"
        for same, d in compare_stats(cost, parse_stats(answer.stats))
        if not same
    ]
    return ("differ" if wrong or broken else "equal"), [*wrong, *broken]


def run_case(rng: Random, kind: str, front_end: FrontEnd, folder: Path) -> tuple[str, list[str], dict[str, Any]]:
    """One case, both ways."""
    case = random_spec(rng)
    arch = case["arch"] + "variables: {version: 0.4, technology: '\"45nm\"', global_cycle_seconds: 1.0e-9}\n"
    parts = {"arch": arch, "problem": yaml.safe_dump({"problem": case["problem"]})}
    if kind == "sets":
        parts["sets"] = yaml.safe_dump(constraint_sets(rng, case))
    else:
        parts["mapping"] = yaml.safe_dump({"mapping": case["mapping"]})
    sources = []
    for name, text in parts.items():
        sources.append(folder / f"{name}.yaml")
        sources[-1].write_text(text)
    tables = [{"name": f"system.{n}", "actions": [{"name": a, "arguments": {}, "energy": e} for a, e in actions.items()]}
              for n, actions in case["ert"].items()]  # fmt: skip
    table = yaml.safe_dump({"ERT": {"version": 0.4, "tables": tables}, "ART": {"version": 0.4, "tables": [
        {"name": t["name"], "area": 1.0} for t in tables]}})  # fmt: skip
    expanded = front_end.expand(sources)
    if "error" in expanded:
        answer = Answer(None, None, f"front end: {expanded['error']}")
    elif kind == "nodes":
        answer = run_program("timeloop-model", [expanded["timeloop-model"], table], 20)
    elif kind == "tree":
        document = rewritten(rng, yaml.safe_load(expanded["timeloop-model"]))
        text = yaml.safe_dump({k: document[k] for k in ("architecture", "problem", "mapping")}, sort_keys=False)
        sources = [folder / "tree.yaml"]
        sources[0].write_text(text)
        answer = run_program("timeloop-model", [text, table], 20)
    else:
        document = yaml.safe_load(expanded["timeloop-mapper"])
        document.pop("mapper", None)
        answer = run_program("timeloop-mapper", [yaml.safe_dump(document), table, yaml.safe_dump(SEARCH)], 30)
    verdict, wrong = judge(case, answer, sources, kind == "sets")
    return verdict, wrong, {"sources": {s.name: s.read_text() for s in sources}, "ert": case["ert"], "answer": answer.reason}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first case; case i has seed + i")
    parser.add_argument("--kind", choices=KINDS, default="nodes")
    parser.add_argument("--front-end", required=True, metavar="PYTHON", help="an interpreter that has timeloopfe")
    parser.add_argument("--keep", type=Path, help="folder for the cases that differ")
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore", hwloop.SpecWarning)
    front_end = FrontEnd(args.front_end)
    verdicts: Counter[str] = Counter()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.seed, args.seed + args.cases):
            name = f"reading-{args.kind}-{seed}"
            verdict, wrong, case = run_case(Random(name), args.kind, front_end, Path(folder))
            verdicts[verdict] += 1
            if verdict in ("differ", "crash"):
                print(f"{name}: {verdict}", *wrong[:4], sep="\n  ", flush=True)
                if args.keep:
                    args.keep.mkdir(parents=True, exist_ok=True)
                    (args.keep / f"{name}.json").write_text(json.dumps(case | {"differences": wrong}, indent=1))
    front_end.close()
    print(f"{dict(verdicts)} in {time.perf_counter() - start:.0f} s")
    return 1 if verdicts["differ"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
