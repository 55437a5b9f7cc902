"""From a component to its primitives: which of them every action of every known class pays for.

Storage energies are per row (a vector access of `width` bits) and do not follow the bits of a word: a row holds more of the
narrow words. The energy of a multiplier follows the product of its operands' bits, that of an adder the bits it adds.
Gated and skipped operations switch nothing: they cost 0 beyond the leakage, which every cycle pays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, log2

from hwloop.energy.literature import NODE_NM, SOURCE, add_pj, add_um2, multiply_pj, multiply_um2
from hwloop.energy.primitives import Estimator, Figures, node_nm
from hwloop.errors import EnergyTableError
from hwloop.spec.energy_table import ComponentEnergy
from hwloop.spec.levels import Level
from hwloop.units import PJ_PER_J

# Classes by what they are made of, in lower case. Smart buffers generate their own addresses with two adders.
DRAM = frozenset({"dram"})
SRAM = frozenset({"sram"})
SMART_SRAM = frozenset({"smartbuffer_sram", "smartbuffer", "smartbuffer_metadata"})
REGISTER = frozenset({"reg", "aladdin_register"})  # a single row unless they name a depth
REGISTERS = frozenset({"regfile", "register_file"}) | REGISTER
SMART_REGISTERS = frozenset({"smartbuffer_rf", "regfile_metadata"})
MAC = frozenset({"intmac", "mac"})
HOROWITZ_MAC = frozenset({"intmac_horowitz"})
DRAM_DEFAULT = "LPDDR4"  # what Accelergy's plug-in takes where a DRAM names no `type`
CLASSES = {  # what each is, for people
    "off-chip memory": DRAM,
    "SRAM array (CACTI)": SRAM,
    "SRAM array with an address generator": SMART_SRAM,
    "register file": REGISTERS,
    "register file with an address generator": SMART_REGISTERS,
    "integer multiplier and adder (Aladdin)": MAC,
    "integer multiplier and adder (Horowitz)": HOROWITZ_MAC,
}
KNOWN = frozenset().union(*CLASSES.values())


@dataclass
class _Bill:
    """What a component pays for: its actions, and the primitives it is built of with their numbers."""

    level: Level
    estimator: Estimator
    actions: dict[str, float] = field(default_factory=dict)
    parts: list[tuple[Figures, float]] = field(default_factory=list)

    def whole(self, attribute: str, default: int | None = None) -> int:
        """A positive whole attribute that an estimator needs."""
        value = int(self.level.number(attribute, default or 0))
        if value < 1:
            raise EnergyTableError(
                f"component {self.level.name!r} ({self.level.class_name}): attribute `{attribute}`: expected a whole number "
                f"of at least 1, found {self.level.values.get(attribute)!r}; its energy depends on it"
            )
        return value

    @property
    def node(self) -> float:
        return node_nm(self.level.values.get("technology"), self.level.name)

    def logic(self, kind: str, count: float) -> Figures:
        """Puts `count` units of logic on the bill."""
        figures = self.estimator.logic(kind, self.node)
        self.parts.append((figures, count))
        return figures


def component_energy(
    level: Level, estimator: Estimator, cycle_s: float, bits: Mapping[str, int] | None = None
) -> ComponentEnergy:
    """Every action of one component [pJ], its area [um^2] and where the numbers come from; its own scales applied.

    Args:
        level: the component.
        estimator: who knows the primitives.
        cycle_s: the clock period [s], over which a component leaks.
        bits: bits of a value by data space; only a multiplier and its adder follow them.

    Raises:
        EnergyTableError: an unknown class, a missing attribute, or a primitive that the estimator does not cover.
    """
    kind = _class_of(level)
    bill = _Bill(level, estimator)
    if kind in DRAM:
        _dram(bill)
    elif kind in MAC | HOROWITZ_MAC:
        _mac(bill, bits or {}, kind in HOROWITZ_MAC)
    else:
        _storage(bill, kind)
    bill.actions["leak"] = sum(f.leak_w * count for f, count in bill.parts) * cycle_s * PJ_PER_J
    area_um2 = sum(f.area_um2 * count for f, count in bill.parts) * level.area_scale
    sources = "; ".join(dict.fromkeys(f.source for f, _ in bill.parts))
    for scale, what in ((level.energy_scale, "energy"), (level.area_scale, "area")):
        sources += "" if scale == 1.0 else f"; {what} times {scale:g} ({what}_scale)"
    return ComponentEnergy(level.name, tuple((a, e * level.energy_scale) for a, e in bill.actions.items()), area_um2, sources)


def _class_of(level: Level) -> str:
    for written in (level.subclass, level.class_name):
        if written.lower() in KNOWN:
            return written.lower()
    written = level.subclass or level.class_name
    raise EnergyTableError(
        f"component {level.name!r}: no estimator knows the class {written!r}; use one of {sorted(KNOWN)}, or give its "
        f"energies in a table of your own: an entry {level.name!r} with its actions [pJ]"
    )


def _dram(bill: _Bill) -> None:
    kind = bill.level.values.get("type", DRAM_DEFAULT)
    if not isinstance(kind, str):
        raise EnergyTableError(
            f"component {bill.level.name!r}: attribute `type`: expected the kind of DRAM such as '\"LPDDR4\"', found {kind!r}"
        )
    bit = bill.estimator.dram(kind)
    if "type" not in bill.level.values:
        bit = replace(bit, source=f"{bit.source}; no `type` given, so {kind} as in Accelergy")
    width = bill.whole("width")
    bill.parts.append((bit, width))
    bill.actions |= {"read": bit.read_pj * width, "write": bit.write_pj * width, "update": bit.write_pj * width}
    metadata = int(bill.level.number("metadata_storage_width", 0))
    if metadata:
        bill.actions |= {"metadata_read": bit.read_pj * metadata, "metadata_write": bit.write_pj * metadata}
    _counter(bill)


def _mac(bill: _Bill, bits: Mapping[str, int], horowitz: bool) -> None:
    """A multiplier of weight bits x activation bits, and an adder whose width keeps its ratio to the product's width."""
    full = bill.whole("multiplier_width", bill.level.word_bits)
    adder = bill.whole("adder_width", 2 * full)
    weight, activation = bits.get("Weights", full), bits.get("Inputs", full)
    add_bits = adder * (weight + activation) / (2 * full)
    multiplier, add = bill.logic("multiplier", full * full), bill.logic("adder", adder)
    if horowitz:
        built = bill.estimator.logic("multiplier", NODE_NM)
        energy_pj = multiply_pj(weight, activation) + add_pj(add_bits)
        energy_pj *= multiplier.read_pj / built.read_pj
        area_um2 = multiply_um2(full, full) + add_um2(adder)
        area_um2 *= multiplier.area_um2 / built.area_um2
        leak_w = sum(f.leak_w * count for f, count in bill.parts)
        note = f"{SOURCE}; scaled from {NODE_NM:g} to {bill.node:g} nm and leakage after {multiplier.source}"
        bill.parts = [(Figures(energy_pj, energy_pj, leak_w, area_um2, note), 1)]
    else:
        energy_pj = multiplier.read_pj * weight * activation + add.read_pj * add_bits
    bill.actions |= {"compute": energy_pj, "compute_gated": 0.0, "compute_skipped": 0.0}


def _storage(bill: _Bill, kind: str) -> None:
    level, sram = bill.level, kind in SRAM | SMART_SRAM
    width = bill.whole("width", level.word_bits * level.block_size)
    rows = None if level.entries is None else ceil(level.entries / level.block_size)
    depth = bill.whole("depth", 1 if rows is None and kind in REGISTER else rows)
    read_pj, write_pj = _array(bill, sram, depth, width, bill.whole("n_banks", 1))
    if kind in SMART_SRAM | SMART_REGISTERS:
        address_bits = max(ceil(log2(depth)), 1)
        address_pj = bill.logic("adder", 2 * address_bits).read_pj * address_bits
        read_pj, write_pj = read_pj + address_pj, write_pj + address_pj
    bill.actions |= {"read": read_pj, "write": write_pj, "update": write_pj}
    metadata_width = int(bill.level.number("metadata_storage_width", 0))
    if metadata_width:
        read_pj, write_pj = _array(bill, sram, bill.whole("metadata_storage_depth"), metadata_width, 1)
        bill.actions |= {"metadata_read": read_pj, "metadata_write": write_pj}
    _counter(bill)


def _array(bill: _Bill, sram: bool, depth: int, width: int, banks: int) -> tuple[float, float]:
    """Energy of a read and a write of one row [pJ]; the array goes on the bill."""
    if sram:
        figures = bill.estimator.sram(bill.node, depth, width, banks)
        bill.parts.append((figures, 1))
        return figures.read_pj, figures.write_pj
    # A register file: the row's registers, and in every row of the bank a comparator of its address.
    rows = ceil(depth / banks)
    address_bits = max(ceil(log2(rows)), 1)
    register = bill.logic("register", depth * width)
    select_pj = bill.logic("comparator", depth * address_bits).read_pj * rows * address_bits
    return register.read_pj * width + select_pj, register.write_pj * width + select_pj


def _counter(bill: _Bill) -> None:
    """The adder that turns metadata into addresses where a level decompresses or compresses."""
    width = int(bill.level.number("metadata_counter_width", 0))
    if width:
        energy_pj = bill.logic("adder", 2 * width).read_pj * width
        bill.actions |= {"decompression_count": energy_pj, "compression_count": energy_pj}
