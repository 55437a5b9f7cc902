"""Mixed precision on Timeloop, which knows one `datawidth` a level: a level becomes one level for each data space it keeps.

The new levels stand one below the other where the old one stood; each keeps one data space, with that data space's bits as
its `datawidth`. The innermost of them carries the old level's loops, so that the tiles are the old ones; the others' factors
are 1. Each gets the old depth, because whether all fit together is for hwloop's own capacity check to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hwloop.errors import SpecError
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.levels import Architecture, Level
from hwloop.spec.mapping import Bypass, Loops
from hwloop.spec.mapping import Mapping as LoopMapping


@dataclass(frozen=True)
class SplitSystem:
    """An accelerator with some levels split.

    Attributes:
        architecture: the accelerator with the new levels.
        mapping: the mapping on it.
        table: the energy table with the new components; leakage and area stay with the innermost of them.
        origin: name of each new level -> name of the level it comes from.
    """

    architecture: Architecture
    mapping: LoopMapping
    table: EnergyTable
    origin: dict[str, str]


def split_levels(architecture: Architecture, mapping: LoopMapping, table: EnergyTable, bits: Mapping[str, int]) -> SplitSystem:
    """Splits each level that keeps a data space whose bits differ from the level's `datawidth`.

    Args:
        architecture: the accelerator.
        mapping: a mapping that says for every level what it keeps.
        table: its energy table, per row.
        bits: bits of a value by data space; a data space that is not named keeps the level's `datawidth`.

    Raises:
        SpecError: bits that do not divide a level's width: Timeloop's rows hold whole words.
    """
    levels: list[Level] = []
    loops: list[Loops] = []
    bypass: list[Bypass] = []
    components = list(table.components)
    origin: dict[str, str] = {}
    for level in architecture.storage:
        entry = mapping.find_bypass(level.name)
        own_loops = [e for e in mapping.loops if e.target == level.name]
        kept = entry.keep if entry is not None else ()
        if level.kind == "spatial" or all(bits.get(space, level.word_bits) == level.word_bits for space in kept):
            levels.append(level)
            loops += own_loops
            bypass += [entry] if entry is not None else []
            continue
        assert entry is not None
        spaces = (*entry.keep, *entry.bypass)
        whole = table.component(level.name)
        components.remove(whole)
        for space in kept:
            name = f"{level.name}_{space}"
            innermost = space == kept[-1]
            origin[name] = level.name
            levels.append(_narrow(level, name, bits.get(space, level.word_bits)))
            loops += [replace(e, target=name) for e in own_loops] if innermost else []
            bypass.append(Bypass(name, (space,), tuple(s for s in spaces if s != space)))
            actions = tuple((a, e) for a, e in whole.actions if innermost or a != "leak")
            components.append(replace(whole, name=name, actions=actions, area_um2=whole.area_um2 if innermost else 0.0))
    return SplitSystem(
        replace(architecture, levels=(*levels, architecture.compute)),
        LoopMapping(tuple(loops), tuple(bypass)),
        EnergyTable(tuple(components)),
        origin,
    )


def _narrow(level: Level, name: str, word_bits: int) -> Level:
    if level.width is None or level.width % word_bits:
        hint = "choose bits that divide the width, or ask the embedded simulator"
        raise SpecError("<bits>", f"{level.name}.datawidth", f"bits that divide the width of {level.width}", word_bits, hint)
    attributes: dict[str, object] = dict(level.attributes)
    scale = level.word_bits / word_bits
    for bandwidth in ("read_bandwidth", "write_bandwidth", "shared_bandwidth"):
        if attributes.get(bandwidth) is not None:  # words a cycle: the wires carry the same bits
            attributes[bandwidth] = level.number(bandwidth, 0.0) * scale
    attributes["datawidth"] = word_bits
    attributes.pop("block_size", None)
    return replace(level, name=name, attributes=tuple(attributes.items()))  # type: ignore[arg-type]
