"""What a reader of a table should know before wondering: a density or a width that changes nothing, and why a figure jumps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hwloop.backend.target import Target
from hwloop.report.case import Asked
from hwloop.simulator.packing import pack
from hwloop.spec.architecture import Architecture
from hwloop.spec.levels import Level
from hwloop.spec.shipped import architecture_names

_OPERANDS = {"Weights": "weights", "Inputs": "inputs"}


def notes(targets: Sequence[Target], asked: Sequence[Asked]) -> list[str]:
    """All notes on one accelerator, under one or several dataflows, for what was asked of it, each once."""
    found = [note for one in asked for note in density_notes(targets[0].arch, one)]
    found += width_notes(targets, asked)
    return list(dict.fromkeys(found))


def density_notes(arch: Architecture, asked: Asked) -> list[str]:
    """Where zeros save nothing."""
    used = zeros_used(arch)
    idle = [_OPERANDS[name] for name in asked.densities if name not in used]
    if not idle:
        return []
    family = [name for name in architecture_names() if name.startswith(f"{arch.name}_")]
    hint = f"; {', '.join(family)} can" if family and not used else ""
    why = "no level gates, skips or codes zeros" if not used else f"only zeros of {_named(used)} are used"
    return [f"the density of {' and '.join(idle)} changes nothing on {arch.name}: {why}{hint}"]


def zeros_used(arch: Architecture) -> frozenset[str]:
    """The operands whose zeros the accelerator makes use of."""
    used: set[str] = set()
    for level in arch.levels:
        used |= {entry.data_space for entry in level.sparse.representation}
        used |= {name for action in level.sparse.actions for option in action.options for name in option.condition_on}
        used |= set(_OPERANDS) if level.sparse.compute else set()
    return frozenset(used & set(_OPERANDS))


def width_notes(targets: Sequence[Target], asked: Sequence[Asked]) -> list[str]:
    """How many values a row holds at each width asked for, and between which widths that changes."""
    levels = list(dict.fromkeys(level for target in targets for level in operand_levels(target)))
    own = targets[0].arch.storage[0].word_bits
    widths = sorted({bits for one in asked for bits in one.bits.values()} | {own}, reverse=True)
    if len(widths) == 1:
        return []
    out = []
    for wide, narrow in pairwise(widths):
        changed: dict[str, list[str]] = {}
        for level in levels:
            changed.setdefault(_change(level, wide, narrow), []).append(level.name)
        same = changed.pop("", [])
        if changed:
            kept = f"; as before in {_list(same)}" if same else ""
            out.append(
                f"from {wide} to {narrow} bits: {'; '.join(f'{t} in {_list(names)}' for t, names in changed.items())}{kept}"
            )
        else:
            out.append(f"from {wide} to {narrow} bits no row holds more values: only the MACs need less energy")
    return [*out, "partial sums keep the accelerator's width; a finished output waits at the bits of the layer that reads it"]


def operand_levels(target: Target) -> list[Level]:
    """The storage levels that may hold weights or inputs."""
    arch = target.arch.with_constraints(target.constraints)
    out = []
    for level in arch.storage:
        constraint = arch.constraints.data_space(level.name)
        if level.kind != "spatial" and not (constraint and set(_OPERANDS) <= set(constraint.bypass)):
            out.append(level)
    return out


def _change(level: Level, wide: int, narrow: int) -> str:
    before, after = pack(level, 1.0, wide), pack(level, 1.0, narrow)
    if (before.row_words, before.word_rows) == (after.row_words, after.word_rows):
        return ""
    row = level.block_size * level.word_bits
    if before.word_rows > 1:
        return f"{before.word_rows} -> {after.word_rows} rows of {row} bits a value"
    return f"{before.row_words} -> {after.row_words} values a row of {row} bits"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


def _named(used: frozenset[str]) -> str:
    return " and ".join(_OPERANDS[name] for name in sorted(used))
