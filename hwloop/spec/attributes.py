"""Attributes of a component: known ones are checked, text is computed as arithmetic, unknown ones are kept for the estimator."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hwloop.spec.document import Fields, nearest
from hwloop.spec.expressions import ExpressionError, Value, evaluate
from hwloop.spec.limits import COMPUTES
from hwloop.spec.network import NETWORK_REAL, NETWORK_TEXT, NETWORK_WHOLE

SPATIAL_CLASS = "dummy_storage"
SPATIAL_ATTRIBUTES = {"width": 1, "depth": 1, "datawidth": 1, "technology": -1}  # what the Timeloop programs want of such a level
BANDWIDTH_SCALE = "per_dataspace_bandwidth_consumption_scale"
INHERITED = ("technology", "global_cycle_seconds")  # what every estimator takes from the containers around a component

# Least value of the attributes that the simulator reads; booleans and free text apart.
WHOLE: dict[str, int] = {
    "width": 1, "datawidth": 1, "depth": 0, "entries": 0, "sizeKB": 0, "block_size": 1, "cluster_size": 1, "n_banks": 0,
    "n_ports": 0, "meshX": 1, "meshY": 1, "instances": 1, "metadata_block_size": 1, "metadata_datawidth": 0,
    "metadata_storage_width": 0, "metadata_storage_depth": 0, "n_rdwr_ports": 0, "n_rd_ports": 0, "n_wr_ports": 0,
    "n_rw_ports": 0, "update_fifo_depth": 0, "metadata_counter_width": 0, "network_fill_latency": 0,
    "network_drain_latency": 0, **dict.fromkeys(NETWORK_WHOLE, 0),
}  # fmt: skip
REAL: dict[str, float] = {
    "read_bandwidth": 0.0, "write_bandwidth": 0.0, "shared_bandwidth": 0.0, "bandwidth": 0.0, "multiple_buffering": 0.0,
    "min_utilization": 0.0, "global_cycle_seconds": 0.0, "vector_access_energy": 0.0, "addr_gen_energy": float("-inf"),
    "cluster_area": 0.0, **dict.fromkeys(NETWORK_REAL, 0.0),
}  # fmt: skip
BOOLEAN = frozenset({
    "decompression_supported", "compression_supported", "reduction_supported", "allow_overbooking", "has_power_gating",
    "tile_partition_supported", "concordant_compressed_tile_traversal",
})  # fmt: skip
# Several names of one attribute, in the order in which the program looks for them.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "datawidth": ("word_bits", "word_width", "datawidth"),
    "block_size": ("block_size", "n_words"),
    "width": ("width", "memory_width", "data_storage_width"),
    "depth": ("depth", "memory_depth", "data_storage_depth"),
    "n_banks": ("num_banks", "n_banks"),
    "n_ports": ("num_ports", "n_ports"),
    "metadata_datawidth": ("metadata_datawidth", "metadata_word_bits"),
    "metadata_storage_width": ("metadata_storage_width", "metadata_width"),
    "metadata_storage_depth": ("metadata_storage_depth", "metadata_depth"),
}
_MEANS = {name: attribute for attribute, names in SPELLINGS.items() for name in names}
_WORDS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
_TEXT = frozenset({"technology", "type", "power_gated_at", BANDWIDTH_SCALE, *NETWORK_TEXT})
_KNOWN = frozenset({*WHOLE, *REAL, *BOOLEAN, *_MEANS, *_TEXT})
# What estimators know, which is no cause for a word to the user.
_ESTIMATOR = frozenset({
    "multiplier_width", "adder_width", "width_a", "width_b", "n_bits", "precision", "mantissa", "exponent", "latency",
    "cycle_seconds", "version", "size", "tech_node", "n_rw_banks", "cache_type", "address_width", "data_width", "energy", "area",
    "action_latency_cycles", "n_instances", "voltage", "temperature", "per_datatype_ERT",
})  # fmt: skip
_CAPACITY = ("depth", "entries", "sizeKB")


@dataclass
class Unknown:
    """Attributes that no simulator reads, by name, with the places where they stand."""

    places: dict[str, list[str]] = field(default_factory=dict)

    def report(self, fields: Fields, name: str) -> None:
        """Says it in one line."""
        if self.places:
            found = "; ".join(f"{word} ({', '.join(where)})" for word, where in self.places.items())
            fields.warn(name, f"attributes that no simulator reads, kept for the estimator: {found}")


class Attributes:
    """A scope of attributes as written: its own, on top of those of the containers around it, with the variables in sight."""

    def __init__(
        self, values: Mapping[str, Value | None] | None = None, variables: Mapping[str, Value] | None = None,
        unknown: Unknown | None = None,
    ) -> None:  # fmt: skip
        self.values: dict[str, Value | None] = dict(values or {})
        self.own: dict[str, Value | None] = {}
        self.scale: tuple[tuple[str, float], ...] = ()
        self.variables: dict[str, Value] = dict(variables or {})
        self.unknown = Unknown() if unknown is None else unknown

    def pairs(self) -> tuple[tuple[str, Value | None], ...]:
        """(name, value) pairs under the names the simulator knows, its own and the inherited ones."""
        return canonical(self.values)

    def own_pairs(self, inherited: Iterable[str] = INHERITED) -> tuple[tuple[str, Value | None], ...]:
        """The same of its own attributes, with those of `inherited` that stand in a container around it."""
        return canonical({**{k: self.values[k] for k in inherited if k in self.values}, **self.own})

    def read(self, fields: Fields | None) -> Attributes:
        """A scope inside this one with the attributes of `fields`, each checked; an expression sees those before it.

        Raises:
            SpecError: an expression that cannot be computed, or a value out of range.
        """
        scope = Attributes(self.values, self.variables, self.unknown)
        scope.scale = self.scale
        if fields is not None:
            for name, raw in list(fields.items()):
                if name == BANDWIDTH_SCALE:
                    scope.scale = _read_scale_table(fields, raw)
                    continue
                scope.own[name] = scope.values[name] = _check(fields, name, raw, {**scope.variables, **_present(scope.values)})
        return scope

    def note_unknown(self, component: str) -> None:
        """Keeps in mind which of its own attributes no simulator reads."""
        for name in self.own:
            if name not in _KNOWN and name not in _ESTIMATOR:
                self.unknown.places.setdefault(_described(name), []).append(component)


def attribute_names() -> frozenset[str]:
    """Every attribute that a simulator reads or an estimator is known to."""
    return _KNOWN | _ESTIMATOR


def read_variables(fields: Fields | None) -> dict[str, Value]:
    """The top-level `variables`, which expressions may use."""
    if fields is not None:
        fields.raw("version")
    return _present(Attributes().read(fields).values)


def canonical(values: Mapping[str, Value | None]) -> tuple[tuple[str, Value | None], ...]:
    """Attributes under one name each: sorted; the spelling that the program looks for first counts."""
    out: dict[str, Value | None] = {}
    for name, value in values.items():
        meaning = _MEANS.get(name, name)
        first = next((s for s in SPELLINGS.get(meaning, ()) if values.get(s) is not None), name)
        out[meaning] = values.get(first, value)
    return tuple(sorted(out.items()))


def _present(values: Mapping[str, Value | None]) -> dict[str, Value]:
    return {k: v for k, v in values.items() if v is not None}


def _described(name: str) -> str:
    near = nearest(name, _KNOWN, 0.78)
    return f"{name}, did you mean {near!r}?" if near else name


def refuse_slips(fields: Fields, own: Mapping[str, Value | None], attributes: Mapping[str, Value | None]) -> None:
    """A misspelt width or capacity of a storage would change every number: refused where nothing else gives what it is like.

    Args:
        fields: the component.
        own: its own attributes as written.
        attributes: all that count for it.

    Raises:
        SpecError: with the name it is like.
    """
    for needed in (_CAPACITY, ("width", "block_size"), ("datawidth",)):
        if any(attributes.get(name) is not None for name in needed):
            continue
        for name in own:
            near = "" if name in _KNOWN or name in _ESTIMATOR else nearest(name, needed, 0.78)
            if near:
                raise fields.error(f"attributes.{name}", "a known attribute", own[name], f"did you mean {near!r}?")


def check_rows(fields: Fields, attributes: Mapping[str, Value | None], front_end: bool) -> None:
    """Refuses a row that is not as wide as its words, as the real program does.

    Args:
        fields: the component, a storage.
        attributes: all that count for it.
        front_end: whether upstream's front end reads it, which takes `cluster_size` for 1 where it is not given.

    Raises:
        SpecError: `width` is not `datawidth` x `block_size` x `cluster_size` where all of these are said.
    """
    width, word, block = (attributes.get(name) for name in ("width", "datawidth", "block_size"))
    cluster = attributes.get("cluster_size", 1 if front_end else None)
    if not (isinstance(width, int) and isinstance(word, int) and isinstance(block, int) and isinstance(cluster, int)):
        return
    if word * block * cluster != width:
        product = f"datawidth x block_size x cluster_size, {word} x {block} x {cluster} = {word * block * cluster} bits"
        hint = "give cluster_size" if attributes.get("cluster_size") is None else ""
        raise fields.error("attributes.width", product, width, hint)


def read_scale(fields: Fields, name: str) -> float:
    """Takes `energy_scale` or `area_scale`, 1 when absent.

    Raises:
        SpecError: not a number of at least 0.
    """
    value = fields.take(name, float, 1.0)
    if not 0 <= value < float("inf"):
        raise fields.error(name, "a number of at least 0", value)
    return value


def _read_scale_table(fields: Fields, raw: Any) -> tuple[tuple[str, float], ...]:
    table = Fields(raw or {}, fields.source, fields.where(BANDWIDTH_SCALE))
    pairs = []
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= sys.float_info.max:
            raise table.error(name, "a number of at least 0", value)
        pairs.append((name, float(value)))
    return tuple(pairs)


def quoted(value: Value | None) -> Value | None:
    """The value as written in a spec: text is quoted once more where it would be read as an expression."""
    if isinstance(value, str):
        try:
            evaluate(value, {})
        except ExpressionError:
            return value
        return f"'{value}'"
    return value


def _check(fields: Fields, written: str, raw: Any, variables: Mapping[str, Value]) -> Value | None:
    name = _MEANS.get(written, written)
    if raw is None:
        return None
    if not isinstance(raw, (int, float, str)):
        if name in WHOLE or name in REAL or name in BOOLEAN:
            raise fields.error(written, "a number, true or false, or text", raw)
        return json.dumps(raw, default=str)  # no simulator reads it
    value = _compute(fields, written, name, raw, variables) if isinstance(raw, str) else raw
    if name in WHOLE:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, (bool, str, float)) or not WHOLE[name] <= value <= COMPUTES:
            raise fields.error(written, f"a whole number of at least {WHOLE[name]}", raw, f"at most {COMPUTES:.0e}")
    elif name in REAL and (isinstance(value, (bool, str)) or not REAL[name] <= value <= sys.float_info.max):
        raise fields.error(written, f"a number of at least {REAL[name]}", raw)
    elif name in BOOLEAN and not isinstance(value, bool) and value not in (0, 1):
        raise fields.error(written, "true or false", raw)
    return bool(value) if name in BOOLEAN else value


def _compute(fields: Fields, written: str, name: str, raw: str, variables: Mapping[str, Value]) -> Value:
    if name in BOOLEAN and raw.casefold() in _WORDS:
        return _WORDS[raw.casefold()]
    try:
        return evaluate(raw, variables)
    except ExpressionError as error:
        if name in WHOLE or name in REAL or name in BOOLEAN:
            raise fields.error(written, "a number or an expression of attributes above it", raw, str(error)) from None
        return raw  # free text such as a technology or a memory type
