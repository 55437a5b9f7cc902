"""Random cases for `fuzz_against_timeloop.py`: problem x accelerator x mapping x sparsity, in the reference corpora's format.

Everything is drawn from one `random.Random`, so a seed names a case for ever.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

from fuzz_shapes import SHAPES

from hwloop.spec.architecture import load_architecture

SIZES = (1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 16, 18, 24, 27, 28, 32, 48, 64)
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 12, 16, 20, 32, 40)
DENSE_ONLY = ("mttkrp", "pool")  # the real sparse analysis wants two operands
RESULT = {"mttkrp": "A"}  # elsewhere the last data space


@dataclass
class LevelDraft:
    """A level while it is drawn: what the mapping needs to know of it."""

    name: str
    mesh: tuple[int, int] = (1, 1)  # of a fan-out
    spatial: bool = False
    only: list[str] = field(default_factory=list)  # the data spaces it may keep, all when empty


def random_case(
    rng: Random,
    sparse: bool,
    imperfect: bool = False,
    bits: bool = False,
    networks: bool = False,
    reuse: bool = False,
    levels: bool = False,
) -> dict[str, Any]:
    """One case: `arch` (v0.4 nodes text), `problem`, `mapping`, `ert`, and `areas` [um^2] with networks."""
    kind = rng.choice([name for name in SHAPES if not sparse or name not in DENSE_ONLY])
    problem = random_problem(rng, kind, sparse)
    spaces = [d["name"] for d in problem["shape"]["data_spaces"]]
    arch, drafts = random_architecture(rng, problem, spaces, sparse, levels)
    mapping = random_mapping(rng, problem, drafts, spaces, imperfect)
    table = random_table(rng, drafts, sparse)
    areas: dict[str, float] = {}
    if networks:
        arch, areas = random_networks(rng, arch, drafts, table)
    if reuse:
        forbid_reuse(rng, mapping, drafts, spaces)
    widths: dict[str, Any] = {s: rng.choice(WIDTHS) for s in spaces if rng.random() < 0.7} if bits or levels else {}
    if levels:
        rows = {level.name: level.block_size * level.word_bits for level in load_architecture(arch).storage}
        by_level(rng, problem, mapping, {draft.name: rows[draft.name] for draft in drafts}, spaces, widths)
    return {
        "shape": kind,
        "arch_name": "random",
        "arch": arch,
        "problem": problem,
        "mapping": mapping,
        "ert": table,
        "bits": widths,
        "areas": areas,
    }


def random_networks(rng: Random, arch: str, levels: list[LevelDraft], table: list[Any]) -> tuple[str, dict[str, float]]:
    """Energies of networks: attributes of some levels in the text, a `wire` in the table, areas that give hops their length.

    Returns:
        The accelerator's text, and areas by component [um^2].
    """
    drafts = {level.name for level in levels}
    lines = arch.split("\n")
    for at in reversed(range(len(lines))):
        line = lines[at]
        name = line.strip().removeprefix("name: ")
        container = f"inter_{name}_spatial" in drafts and name not in drafts
        if not line.strip().startswith("name: ") or not (container or name in drafts) or rng.random() < 0.4:
            continue
        own = {
            "energy_per_hop": rng.choice((0.05, 0.31)), "router_energy": rng.choice((0.07, 0.4)), "wire_energy": 0.13,
            "tile_width": rng.choice((50, 180.5)), "network_word_bits": rng.choice((8, 20)), "energy-per-ingress": 0.21,
            "reduction_supported": rng.random() < 0.5,
        }  # fmt: skip
        chosen = {key: value for key, value in own.items() if rng.random() < 0.3}
        if container:
            lines.insert(at + 1, f"    attributes: {json.dumps(chosen)}")
            continue
        place = next(i for i in range(at, at + 5) if lines[i].strip().startswith("attributes: {"))
        head, _, body = lines[place].partition("attributes: ")
        lines[place] = f"{head}attributes: {json.dumps(json.loads(body) | chosen)}"
    if rng.random() < 0.6:
        table.append(["wire", {"transfer_random": rng.choice((0.1, 0.25, 0.777))}])
    areas = {name: rng.choice((0.0, 300.0, 12000.0, 1.25e6)) for name, _ in table if name != "wire"}
    return "\n".join(lines), areas if rng.random() < 0.8 else {}


def by_level(
    rng: Random, problem: dict[str, Any], mapping: list[dict[str, Any]], rows: dict[str, int], spaces: list[str],
    widths: dict[str, Any],
) -> None:  # fmt: skip
    """Widths by level and, where the result waits, a width and density of finished values; some data stays on chip. In place.

    Under sparsity only the result has widths of its own, and only some of which the real program knows how zeros fill its rows.

    Args:
        rng: what is drawn from.
        problem: gets the density of finished values, unless it is dense.
        mapping: the outermost level bypasses some data, where a level within keeps it.
        rows: bits of a row by level, outermost first.
        spaces: names of the data spaces.
        widths: gets dicts for some of its numbers.
    """
    sparse, result = "densities" in problem["instance"], _result(problem)
    keeping = {entry["target"]: entry for entry in mapping if entry["type"] == "bypass"}
    outer = keeping[next(iter(rows))]
    for space in spaces:
        if rng.random() < 0.15 and any(space in entry["keep"] for entry in keeping.values() if entry is not outer):
            outer["keep"].remove(space)
            outer["bypass"].append(space)
    waiting = next(name for name in rows if result in keeping[name]["keep"])
    for space in spaces:
        if sparse:
            widths.pop(space, None)
            if space != result:
                continue
        stored = [name for name in rows if space in keeping[name]["keep"]]
        known = {name: [w for w in WIDTHS if not sparse or rows[name] // w in (0, 1, 2, 4, 8, 16, 32)] for name in stored}
        chance = {name: 0.8 if (space, name) == (result, waiting) else 0.3 for name in stored}
        named = {name: rng.choice(known[name]) for name in stored if rng.random() < chance[name]}
        if named:
            widths[space] = {"*": widths[space], **named} if space in widths else named
    if sparse:
        problem["instance"]["densities"].pop(result, None)
        if rng.random() < 0.7:
            problem["instance"]["densities"][result] = {**random_density(rng), "level": waiting}


def forbid_reuse(rng: Random, mapping: list[dict[str, Any]], levels: list[LevelDraft], spaces: list[str]) -> None:
    """Adds reuse flags to targets of a mapping, in place."""
    for entry in mapping:
        for flag, kinds in (("no_reuse", ("spatial", "temporal")), ("no_link_transfer", ("spatial",)),
                            ("rmw_first_update", ("temporal",))):  # fmt: skip
            if entry["type"] in kinds and rng.random() < 0.35:
                entry[flag] = [s for s in spaces if rng.random() < 0.5]


def random_problem(rng: Random, kind: str, sparse: bool) -> dict[str, Any]:
    """A problem of this shape, at most some ten million computes."""
    dims, spaces = SHAPES[kind]
    sizes = {d: rng.choice(SIZES) for d in dims}
    for small in "RST":
        if small in sizes:
            sizes[small] = rng.choice((1, 1, 2, 3, 3, 5, 7))
    limit = 2e4 if sparse else 2e7
    while _product(sizes.values()) > limit:
        d = rng.choice([d for d in sizes if sizes[d] > 1])
        sizes[d] = max(sizes[d] // 2, 1)
    coefficients = sorted({t[1] for ranks in spaces.values() for rank in ranks for t in rank if len(t) > 1})
    instance: dict[str, Any] = dict(sizes)
    for c in coefficients:
        instance[c] = rng.choice((1, 1, 1, 2, 3, 4))
    result = RESULT.get(kind, list(spaces)[-1])
    if sparse:
        chosen = {s: random_density(rng) for s in spaces if s != result and rng.random() < 0.85}
        if rng.random() < 0.15:
            chosen[result] = random_density(rng)
        instance["densities"] = chosen
    shape = {
        "name": kind,
        "dimensions": list(dims),
        "coefficients": [{"name": c, "default": 1} for c in coefficients],
        "data_spaces": [
            {"name": s, "projection": ranks, **({"read_write": True} if s == result else {})} for s, ranks in spaces.items()
        ],
    }
    return {"version": 0.4, "instance": instance, "shape": shape}


def random_density(rng: Random) -> dict[str, Any]:
    """A density model with its density."""
    density = rng.choice((0.02, 0.1, 0.25, 0.3, 0.5, 0.6, 0.75, 0.9, 1.0))
    return {"distribution": rng.choice(("hypergeometric", "hypergeometric", "fixed_structured")), "density": density}


def random_architecture(
    rng: Random, problem: dict[str, Any], spaces: list[str], sparse: bool, coded: bool = False
) -> tuple[str, list[LevelDraft]]:
    """An accelerator as v0.4 `nodes` text, and its levels; its result is seldom held in a format unless `coded`."""
    formatted = {s: rng.choice((0, 0, 1, 2, 3, 4)) for s in spaces}  # outer levels that hold it compressed
    if sparse and rng.random() < (0.4 if coded else 0.8):
        formatted[_result(problem)] = 0
    nodes = ['- !Container\n    name: system\n    attributes: {technology: "45nm", global_cycle_seconds: 1e-9}']
    levels: list[LevelDraft] = []
    fanned = 0
    for i in range(rng.choice((1, 2, 2, 3, 3, 3, 4, 4, 5, 6))):
        if i and rng.random() < 0.45 and fanned < 3:
            fanned += 1
            levels.append(_container(rng, nodes, f"box{i}"))
        if i > 1 and rng.random() < 0.3:
            parts = [f"spad{i}_{s}" for s in spaces if rng.random() < 0.8]
            if parts:
                text = ["- !Parallel\n    nodes:"]
                for name in parts:
                    space = name.split("_", 1)[1]
                    levels.append(LevelDraft(name, only=[space]))
                    text.append(
                        _component(
                            rng, name, i, [space], spaces, problem, formatted if sparse else None, "    ", _instances(levels)
                        )
                    )
                nodes.append("\n".join(text))
                continue
        spatial = ""
        if i and rng.random() < 0.1 and fanned < 3:
            fanned += 1
            levels.append(LevelDraft(f"inter_mem{i}_spatial", (2, 3), spatial=True))
            spatial = "\n    spatial: {meshX: 2, meshY: 3}"
        levels.append(LevelDraft(f"mem{i}"))
        nodes.append(
            _component(rng, f"mem{i}", i, spaces, spaces, problem, formatted if sparse else None, "", _instances(levels))
            + spatial
        )
    if rng.random() < 0.5:
        levels.append(_container(rng, nodes, "pe"))
    compute = ""
    if sparse and rng.random() < 0.4:
        compute = "\n    sparse_optimizations: " + json.dumps(
            {"compute_optimization": [{"type": rng.choice(("gating", "skipping"))}]}
        )
    nodes.append(f"- !Component\n    name: mac\n    class: intmac\n    attributes: {{datawidth: 16, width: 16}}{compute}")
    body = "\n  ".join(nodes)
    return f"architecture:\n  version: 0.4\n  nodes:\n  {body}\n", levels


def _container(rng: Random, nodes: list[str], name: str) -> LevelDraft:
    mesh = rng.choice(((2, 1), (1, 2), (4, 1), (1, 8), (2, 2), (4, 4), (14, 12), (8, 8), (3, 5), (16, 1), (7, 2)))
    nodes.append(f"- !Container\n    name: {name}\n    spatial: {{meshX: {mesh[0]}, meshY: {mesh[1]}}}")
    return LevelDraft(f"inter_{name}_spatial", mesh, spatial=True)


def _component(
    rng: Random,
    name: str,
    i: int,
    kept: list[str],
    spaces: list[str],
    problem: dict[str, Any],
    formatted: dict[str, int] | None,
    indent: str,
    instances: int,
) -> str:
    datawidth = rng.choice((4, 8, 8, 16, 16, 16, 24, 32))
    words = rng.choice((1, 1, 1, 2, 4, 8))
    attributes: dict[str, Any] = {"width": datawidth * words, "datawidth": datawidth}
    if i:
        attributes["depth"] = rng.choice((8, 24, 64, 256, 1024, 4096, 16384, 65536)) * (64 if rng.random() < 0.8 else 1)
        if rng.random() < 0.15:
            attributes["multiple_buffering"] = rng.choice((1, 1.5, 2))
        if rng.random() < 0.05:
            attributes["min_utilization"] = rng.choice((0.01, 0.1, 0.5))
    if words > 1 and rng.random() < 0.25 and i:
        cluster = rng.choice([w for w in (1, 2, 4, 8) if words % w == 0 and instances % w == 0])  # the real program wants both
        attributes |= rng.choice(({"block_size": words // cluster, "cluster_size": cluster}, {"cluster_size": cluster}))
    scale = rng.choice((0.5, 1, 2, 4, 8, 16, 64))
    for bandwidth in ("read_bandwidth", "write_bandwidth", "shared_bandwidth"):
        if rng.random() < (0.15 if bandwidth == "shared_bandwidth" else 0.45):
            attributes[bandwidth] = scale * rng.choice((0.3, 1, 1, 2))
    if rng.random() < 0.05:
        attributes["network_fill_latency"] = rng.choice((1, 3))
    if rng.random() < 0.05:
        attributes["network_drain_latency"] = rng.choice((1, 3))
    if rng.random() < 0.05:
        attributes["addr_gen_energy"] = 0.5
    if rng.random() < 0.08:
        attributes["has_power_gating"] = True
    lines = ["- !Component", f"  name: {name}", f"  class: {'DRAM' if i == 0 else 'SRAM'}"]
    extra = ""
    if formatted is not None:
        if rng.random() < 0.99:
            attributes |= {
                "metadata_storage_width": rng.choice((8, 16, 32)),
                "metadata_storage_depth": rng.choice((1 << 20, 1 << 16)),
                "metadata_datawidth": rng.choice((2, 4, 8)),
            }
        if rng.random() < 0.97:
            attributes |= {"decompression_supported": True, "compression_supported": True}
        chosen = random_sparse(rng, kept, spaces, problem, formatted)
        extra = f"\n{indent}    sparse_optimizations: {json.dumps(chosen)}" if chosen else ""
    lines.append(f"  attributes: {json.dumps(attributes)}")
    lines.append(
        f"  constraints: {{dataspace: {{keep: {json.dumps(kept)}, bypass: {json.dumps([s for s in spaces if s not in kept])}}}}}"
    )
    return (indent if indent else "") + f"\n{indent}  ".join(lines) + extra


def random_sparse(
    rng: Random, kept: list[str], spaces: list[str], problem: dict[str, Any], formatted: dict[str, int]
) -> dict[str, Any]:
    """Formats, gating and skipping of one level; the real program has no data compressed below where they are not."""
    out: dict[str, Any] = {}
    ranks_of = {d["name"]: sorted({t[0] for rank in d["projection"] for t in rank}) for d in problem["shape"]["data_spaces"]}
    result = _result(problem)
    formats = []
    for space in kept:
        if formatted[space] == 0:
            continue
        formatted[space] -= 1
        dims = list(ranks_of[space] if rng.random() < 0.3 else problem["shape"]["dimensions"])
        rng.shuffle(dims)
        own = Random(f"{problem} {space}")  # the ranks of a level are those of the next one in, and one more for its tiles
        if rng.random() < 0.05:
            own = rng
        names = ["UOP"] * own.choice((0, 1, 2)) + [own.choice(("CP", "B", "RLE", "CP"))]
        if own.random() < 0.3:
            names[-1:] = [own.choice(("CP", "B", "RLE")) for _ in range(own.choice((2, 3)))]
        names = ["UOP"] * formatted[space] + names
        ranks: list[dict[str, Any]] = [{"format": n, "flattened_rankIDs": [dims]} for n in names]
        for rank in ranks:
            if rng.random() < 0.1:
                del rank["flattened_rankIDs"]
            if rng.random() < 0.1:
                rank["metadata_word_bits"] = rng.choice((1, 2, 6))
            if rng.random() < 0.05:
                rank["payload_word_bits"] = rng.choice((3, 5))
        entry: dict[str, Any] = {"name": space, "ranks": ranks}
        if rng.random() < 0.1:
            entry["rank_application_order"] = "inner_to_outer"
        formats.append(entry)
    if formats:
        out["representation_format"] = {"data_spaces": formats}
    actions = []
    for target in kept:
        others = [s for s in spaces if s not in (target, result)]
        if others and rng.random() < 0.4:
            count = rng.choice((1, 1, 2))
            condition = rng.sample(others, min(count, len(others)))
            options = [{"target": target, "condition_on": condition}]
            actions.append({"type": rng.choice(("gating", "skipping")), "options": options})
    if actions:
        out["action_optimization"] = actions
    return out


def random_mapping(
    rng: Random, problem: dict[str, Any], levels: list[LevelDraft], spaces: list[str], imperfect: bool
) -> list[dict[str, Any]]:
    """A mapping whose factors cover the problem, with remainders when `imperfect`."""
    dims = problem["shape"]["dimensions"]
    sizes = {d: problem["instance"][d] for d in dims}
    slots = []  # (level number, axis), from the innermost
    for i in reversed(range(len(levels))):
        slots += [(i, "X"), (i, "Y")] if levels[i].spatial else [(i, "T")]
    room = {(i, a): levels[i].mesh[a == "Y"] for i, a in slots if a != "T"}
    chosen: dict[tuple[int, str], dict[str, list[int]]] = {slot: {} for slot in slots}
    outermost = slots[-1]
    heavy = rng.choice((0.15, 0.35, 0.6))
    for d in rng.sample(dims, len(dims)):
        left = sizes[d]
        for slot in slots[:-1]:
            other = chosen.get((slot[0], "X"), {})
            if left == 1 or rng.random() > (0.7 if slot in room else heavy) or (slot[1] == "Y" and d in other):
                continue
            most = min(room.get(slot, left), left)
            options = [b for b in range(2, most + 1) if imperfect or left % b == 0]
            if not options:
                continue
            bound = rng.choice(options)
            chosen[slot][d] = [bound, (left - 1) % bound + 1]
            if slot in room:
                room[slot] //= bound
            left = -(-left // bound)
        if left > 1:
            chosen[outermost][d] = [left, left]
    out: list[dict[str, Any]] = []
    for i, level in enumerate(levels):
        order = rng.sample(dims, len(dims))
        loops = dict(chosen[i, "X"]) | chosen[i, "Y"] if level.spatial else chosen[i, "T"]
        entry: dict[str, Any] = {"target": level.name, "type": "spatial" if level.spatial else "temporal"}
        entry["factors"] = " ".join(
            f"{d}={loops[d][0]}" + (f",{loops[d][1]}" if loops[d][0] != loops[d][1] else "") for d in dims if d in loops
        )
        if level.spatial:
            on_y = [d for d in order if d in chosen[i, "Y"]]
            order = [d for d in order if d not in on_y] + on_y
            entry["split"] = len(order) - len(on_y)
        entry["permutation"] = order
        out.append(entry)
    for i, level in enumerate(levels):
        allowed = [] if level.spatial else level.only or spaces
        keep = [s for s in allowed if i == 0 or level.only or rng.random() < 0.75]
        out.append({"target": level.name, "type": "bypass", "keep": keep, "bypass": [s for s in spaces if s not in keep]})
    return out


def random_table(rng: Random, levels: list[LevelDraft], sparse: bool) -> list[Any]:
    """An energy table [pJ] per vector access."""
    table: list[Any] = []
    for i, level in enumerate(level for level in levels if not level.spatial):
        read = round(rng.uniform(0.1, 5) if i else 200.0, 4)
        actions = {"read": read, "write": round(read * rng.uniform(0.8, 1.5), 4), "leak": round(rng.choice((0, 0, 0.01, 0.2)), 4)}
        if rng.random() < 0.7:
            actions["update"] = round(read * rng.uniform(0.8, 1.5), 4)
        if sparse:
            for kind in (
                "gated_read",
                "gated_write",
                "skipped_read",
                "metadata_read",
                "metadata_write",
                "gated_metadata_read",
                "decompression_count",
            ):
                if rng.random() < 0.6:
                    actions[kind] = round(rng.uniform(0.01, 1), 4)
        table.append([level.name, actions])
    compute = {"compute": 1.931}
    if sparse and rng.random() < 0.7:
        compute |= {"compute_gated": 0.19, "compute_skipped": 0.02}
    table.append(["mac", compute])
    return table


def _result(problem: dict[str, Any]) -> str:
    return next(str(d["name"]) for d in problem["shape"]["data_spaces"] if d.get("read_write"))


def _instances(levels: list[LevelDraft]) -> int:
    return _product(side for level in levels for side in level.mesh)


def _product(values: Any) -> int:
    out = 1
    for value in values:
        out *= value
    return out
