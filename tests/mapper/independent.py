"""Whether a mapping obeys constraints, from the plain lists that both are written as: nothing of hwloop is used here."""

from __future__ import annotations

import re
from math import prod
from typing import Any

Document = dict[str, Any]


def broken(
    targets: list[Document],
    mapping: list[Document],
    sizes: dict[str, int],
    fan_outs: dict[str, tuple[int, int]],
    least_used: float,
) -> list[str]:
    """Every rule that the mapping breaks.

    Args:
        targets: constraints, as Timeloop's list of targets.
        mapping: Timeloop's list of targets.
        sizes: the problem's dimensions.
        fan_outs: by target, instances along X and Y; (1, 1) where it has none.
        least_used: compute units that must be used.
    """
    found = []
    placed = {(m["target"], m["type"]): m for m in mapping if m["type"] in ("temporal", "spatial")}
    bounds = {key: _bounds(m["factors"], sizes) for key, m in placed.items()}
    for d, size in sizes.items():
        if prod(b.get(d, 1) for b in bounds.values()) < size:
            found.append(f"{d} is not covered")
    for (target, kind), used in bounds.items():
        if kind == "spatial":
            on_x, on_y = _axes(placed[target, kind], used, sizes)
            if prod(used[d] for d in on_x) > fan_outs[target][0] or prod(used[d] for d in on_y) > fan_outs[target][1]:
                found.append(f"{target} spreads further than its fan-out")
    for rule in targets:
        key = rule["target"], rule["type"]
        if rule["type"] in ("temporal", "spatial"):
            used = bounds.get(key, {})
            found += [f"{key}: {text}" for text in rule.get("factors", []) if not _holds(text, used, sizes)]
            order = list(rule.get("permutation", []))
            if rule["type"] == "temporal" and order and "*" not in order:
                loops = _order(placed[key], used, sizes) if key in placed else []
                named = [d for d in order if d in loops]
                ones = [d for d in loops if d not in order]
                if loops[: len(named)] != named or loops[len(named) :] != ones:
                    found.append(f"{key}: order {loops} for {order}")
            if rule["type"] == "spatial" and key in placed and set(order) == set(sizes) and "split" in rule:
                on_x, on_y = _axes(placed[key], used, sizes)
                if not on_x <= set(order[: rule["split"]]) or not on_y <= set(order[rule["split"] :]):
                    found.append(f"{key}: {on_x} on X and {on_y} on Y for {order} split at {rule['split']}")
        elif rule["type"] == "dataspace":
            for entry in (
                m for m in mapping if m["target"] == rule["target"] and m["type"] in ("bypass", "datatype", "dataspace")
            ):
                for wanted, refused in (("keep", "bypass"), ("bypass", "keep")):
                    found += [f"{rule['target']}: {s} is not in {wanted}" for s in rule[wanted] if s in entry.get(refused, [])]
    if prod(b for (_, kind), used in bounds.items() if kind == "spatial" for b in used.values()) < least_used:
        found.append("too few compute units")
    return found


def _bounds(factors: Any, sizes: dict[str, int]) -> dict[str, int]:
    text = factors if isinstance(factors, str) else " ".join(f"{d}{n}" for d, n in factors.items())
    return {d: int(n) or sizes[d] for d, n in re.findall(r"([A-Z])=?(\d+)", text) if int(n) != 1 and (int(n) or sizes[d]) > 1}


def _holds(rule: str, used: dict[str, int], sizes: dict[str, int]) -> bool:
    d, relation, number = re.fullmatch(r"([A-Z])(<=|>=|=)(\d+)", rule).groups()  # type: ignore[union-attr]
    have, wanted = used.get(d, 1), int(number)
    if relation == "=":
        return wanted > sizes[d] or have == (wanted or sizes[d])
    return have <= wanted if relation == "<=" else have >= wanted


def _order(entry: Document, used: dict[str, int], sizes: dict[str, int]) -> list[str]:
    named = [d for d in entry.get("permutation", "") if d in sizes]
    return [d for d in [*named, *(d for d in sizes if d not in named)] if d in used]


def _axes(entry: Document, used: dict[str, int], sizes: dict[str, int]) -> tuple[set[str], set[str]]:
    named = [d for d in entry.get("permutation", "") if d in sizes]
    whole = [*named, *(d for d in sizes if d not in named)]
    split = entry.get("split", len(whole))
    return {d for d in whole[:split] if d in used}, {d for d in whole[split:] if d in used}
