"""Every energy of one mapping as accesses times an entry of the energy table: what `hwloop explain` opens a bar down to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hwloop.simulator.activity import Activity
from hwloop.simulator.compiled import COMPUTE_ACTIONS, METADATA_ACTIONS, STORAGE_ACTIONS, CompiledLevel
from hwloop.simulator.cost import Cost, access_terms, address_generations, leaking_instances, lying, over_instances
from hwloop.simulator.nest import Nest
from hwloop.simulator.networks import Wires
from hwloop.simulator.packing import Packing
from hwloop.simulator.result import LayerCost
from hwloop.simulator.simulator import Simulator, layer_cost
from hwloop.simulator.streams import Stream, Streams
from hwloop.spec.architecture import Architecture, load_architecture
from hwloop.spec.bits import Bits
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.expand import expand_mapping
from hwloop.spec.mapping import Mapping, load_mapping
from hwloop.spec.problem import Problem, load_problem

LEAKAGE = "leakage"
BETWEEN = "between layers"


@dataclass(frozen=True)
class Entry:
    """One product: accesses of an instance, times instances, times an entry of the energy table.

    Attributes:
        component: level, compute units or wires.
        data_space: empty for operations of the compute units, `leakage` for what leaks,
            `between layers` for feature maps that element-wise work and pooling read and write.
        access: what is done, e.g. `read`, `gated update`, `metadata read`, `compute`, `leak`, `hop`.
        words: words of one instance; operations of all units, cycles that leak, hops of words.
        words_per_row: how they lie in rows, e.g. `4`; `1/2` where a word takes two rows; empty where there are no rows.
        accesses: of one instance: rows of a storage (vector accesses), operations, cycles, hops.
        instances: how many instances pay for them; on average, so not always a whole number.
        entry: name of the action in the energy table.
        entry_pj: energy of one access [pJ].
        energy_pj: accesses x instances x entry [pJ].
        source: who says so.
    """

    component: str
    data_space: str
    access: str
    words: float
    words_per_row: str
    accesses: float
    instances: float
    entry: str
    entry_pj: float
    energy_pj: float
    source: str


@dataclass(frozen=True)
class Ledger:
    """The cost of one mapping, and every product that its energy is the sum of.

    Attributes:
        cost: as `hwloop.simulate` gives it.
        entries: outermost level first, then compute units, then wires. What costs nothing is left out.
    """

    cost: LayerCost
    entries: tuple[Entry, ...]

    def of(self, component: str | None = None, data_space: str | None = None) -> tuple[Entry, ...]:
        """The entries of a component, a data space, or both."""
        wanted = ((component, "component"), (data_space, "data_space"))
        return tuple(e for e in self.entries if all(w is None or w == getattr(e, name) for w, name in wanted))


def open_cost(
    problem: Problem | Any, architecture: Architecture | Any, mapping: Mapping | Any, energy_table: EnergyTable | Any,
    bits: Bits | None = None,
) -> Ledger:  # fmt: skip
    """The cost of one layer under one mapping, with every product in it.

    Args:
        problem, architecture, mapping, energy_table, bits: as in `hwloop.simulate`.

    Raises:
        InfeasibleMappingError, SpecError, EnergyTableError: as `hwloop.simulate`.
    """
    layer, accelerator, table = load_problem(problem), load_architecture(architecture), load_energy_table(energy_table)
    return _Open(layer, accelerator, table, bits).ledger(expand_mapping(load_mapping(mapping), accelerator, layer))


def open_streams(architecture: Architecture, energy_table: EnergyTable, streams: Sequence[Stream]) -> tuple[Entry, ...]:
    """What data that passes outside of any layer costs, as accesses times entries.

    Args:
        architecture: the accelerator.
        energy_table: energies [pJ] per vector access.
        streams: what is read and written.

    Raises:
        EnergyTableError: a component or action that the table lacks.
    """
    priced, out = Streams(architecture, energy_table), []
    for stream in streams:
        found, kind = priced.accesses(stream), "update" if stream.written else "read"
        values, table = found.values, energy_table.component(stream.level)
        for what, words, lying_in, rows, each, chain in (
            ("", values, _words_per_row(found.packing), found.rows, found.row_pj, STORAGE_ACTIONS["random", kind]),
            ("metadata ", found.metadata_bits, "", found.metadata_rows, found.metadata_pj, METADATA_ACTIONS["random", kind]),
        ):
            if rows:
                entry = next((name for name in chain if name in table.energies_pj), chain[-1])
                out.append(Entry(
                    stream.level, BETWEEN, f"{what}{kind}", words, lying_in, rows, 1, entry, each, rows * each,
                    table.source or "not stated",
                ))  # fmt: skip
    return tuple(out)


class _Open(Simulator):
    """The simulator, with the parts of its answers."""

    def __init__(self, problem: Problem, architecture: Architecture, energy_table: EnergyTable, bits: Bits | None) -> None:
        super().__init__(problem, architecture, energy_table, bits)
        self._table = energy_table

    def ledger(self, mapping: Mapping) -> Ledger:
        """The cost of a mapping and its entries."""
        parts = self.parts(mapping)
        return Ledger(layer_cost(self.compiled, *parts, average=self.averaged(parts[0])), tuple(self._entries(*parts)))

    def _entries(self, nest: Nest, activity: Activity, cost: Cost) -> Iterator[Entry]:
        compiled = self.compiled
        for index, level in enumerate(compiled.levels):
            if level.spatial:
                continue
            for s, space in enumerate(compiled.spaces):
                if nest.tiles[index][s].kept:
                    yield from self._accesses(level, s, space.name, activity, index)
            if cost.levels[index].leakage_pj:
                leaking = float(leaking_instances(compiled, activity, index))
                yield self._entry(level.name, LEAKAGE, "leak", cost.cycles, "", cost.cycles, leaking, ("leak",), level.leak_pj)
        for kind, count in zip(
            COMPUTE_ACTIONS, (activity.compute.computes, activity.compute.gated, activity.compute.skipped), strict=True
        ):
            each = float(compiled.compute_pj[kind])
            if count and each:
                access = "compute" if kind == "computes" else f"{kind} compute"
                yield self._entry(compiled.compute_name, "", access, count, "", count, 1, COMPUTE_ACTIONS[kind], each)
        for prices in compiled.wires:
            for space, energy in zip(compiled.spaces, cost.networks_pj[prices.wires.name], strict=True):
                if energy:
                    yield self._wires(prices.wires, space.name, float(energy), float(prices.hop_pj), nest)

    def _accesses(self, level: CompiledLevel, s: int, space: str, activity: Activity, index: int) -> Iterator[Entry]:
        tile = activity.tiles[index][s]
        paying = float(over_instances(level, tile, 1.0))
        for (state, kind), words, vectors, each in access_terms(level, s, tile):
            if not vectors:
                continue
            metadata, plain = state.startswith("metadata"), state.replace("random", "").strip()
            if state == "counter":
                chain: Sequence[str] = (kind,)
            elif metadata:
                chain = METADATA_ACTIONS[state.split()[1], kind]
            else:
                chain = STORAGE_ACTIONS[state, kind]
            rows = "" if metadata or state == "counter" else _rows_text(level, s, kind, activity, index)
            name = kind.replace("_count", "") if state == "counter" else f"{plain} {kind}".strip()
            yield self._entry(level.name, space, name, words, rows, float(vectors), paying, chain, float(each))
        if level.address_pj:
            generations = address_generations(self.compiled, s, tile)
            clusters = min(float(tile.x_expansion * tile.y_expansion), level.clusters)
            chain = ("addr_gen_energy",)
            yield self._entry(level.name, space, "address", generations, "", generations, clusters, chain, level.address_pj)

    def _wires(self, wires: Wires, space: str, energy_pj: float, hop_pj: float, nest: Nest) -> Entry:
        """Of a plain mesh in hops of words; of other networks as one sum."""
        paying = float(nest.instances[wires.level])
        if wires.linear and hop_pj:
            hops = energy_pj / hop_pj / paying
            return self._entry(wires.name, space, "hop", hops, "", hops, paying, ("wire",), hop_pj)
        return Entry(wires.name, space, "network", 1, "", 1, 1, "network", energy_pj, energy_pj, "attributes of the network")

    def _entry(
        self, component: str, space: str, access: str, words: float, rows: str, accesses: float, instances: float,
        chain: Sequence[str], each: float,
    ) -> Entry:  # fmt: skip
        entry, source = self._named(component, chain)
        paid = accesses * each * instances
        return Entry(component, space, access, words, rows, accesses, instances, entry, each, paid, source)

    def _named(self, component: str, chain: Sequence[str]) -> tuple[str, str]:
        """The action that the energies are taken from, and its source."""
        if chain == ("addr_gen_energy",):
            return chain[0], "attribute of the level"
        if chain == ("wire",):
            of_table = self._table.wire_pj is not None
            wires = [c.source for c in self._table.components if of_table and c.name in ("wire", "Wire")]
            return chain[0], wires[-1] if wires else "attributes of the network"
        if component not in self._table:
            return chain[0], "not stated"
        entry = self._table.component(component)
        if component != self.compiled.compute_name and self.compiled.architecture.level(component).vector_access_pj is not None:
            return "vector_access_energy", "attribute of the level"
        for name in chain:
            if name in entry.energies_pj:
                return name, entry.source or "not stated"
        return chain[-1], "the real program's own estimate"


def _rows_text(level: CompiledLevel, s: int, kind: str, activity: Activity, index: int) -> str:
    """Words in a row: `4`, or `1/2`; partial sums then finished values, `2;4`, where both come by in widths of their own."""
    tile = activity.tiles[index][s]
    packings = lying(level, s, tile) if kind == "update" else lying(level, s, tile)[:1]
    return ";".join(dict.fromkeys(_words_per_row(packing) for packing in packings))


def _words_per_row(packing: Packing) -> str:
    return f"1/{packing.word_rows}" if packing.word_rows > 1 else str(packing.row_words)
