"""Attributes of a component: known ones are checked, text is computed as arithmetic, near misses are refused."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from hwloop.spec.document import Fields
from hwloop.spec.expressions import ExpressionError, Value, evaluate

SPATIAL_CLASS = "dummy_storage"
SPATIAL_ATTRIBUTES = {"width": 1, "depth": 1, "datawidth": 1, "technology": -1}  # what the Timeloop programs want of such a level
NETWORK_CLASSES = frozenset({"network", "legacynetwork", "reductiontreenetwork", "simplemulticastnetwork", "xy_noc", "noc"})

# Least value of the attributes that the simulator reads; booleans and free text apart.
WHOLE: dict[str, int] = {
    "width": 1, "datawidth": 1, "depth": 0, "entries": 0, "sizeKB": 0, "block_size": 1, "cluster_size": 1, "n_banks": 0,
    "n_ports": 0, "meshX": 1, "meshY": 1, "metadata_block_size": 1, "metadata_datawidth": 0, "metadata_storage_width": 0,
    "metadata_storage_depth": 0, "n_rdwr_ports": 0, "n_rd_ports": 0, "n_wr_ports": 0, "n_rw_ports": 0, "update_fifo_depth": 0,
    "metadata_counter_width": 0, "network_fill_latency": 0, "network_drain_latency": 0,
}  # fmt: skip
REAL: dict[str, float] = {
    "read_bandwidth": 0.0, "write_bandwidth": 0.0, "shared_bandwidth": 0.0, "bandwidth": 0.0, "multiple_buffering": 0.0,
    "min_utilization": 0.0, "global_cycle_seconds": 0.0,
}  # fmt: skip
BOOLEAN = frozenset({
    "decompression_supported", "compression_supported", "reduction_supported", "allow_overbooking", "has_power_gating",
    "tile_partition_supported", "concordant_compressed_tile_traversal",
})  # fmt: skip
ALIASES = {
    "word_bits": "datawidth", "word_width": "datawidth", "n_words": "block_size", "memory_width": "width",
    "memory_depth": "depth", "data_storage_width": "width", "data_storage_depth": "depth", "num_banks": "n_banks",
    "num_ports": "n_ports",     "metadata_word_bits": "metadata_datawidth", "metadata_width": "metadata_storage_width",
    "metadata_depth": "metadata_storage_depth",
}  # fmt: skip
TEXT = frozenset({"technology", "type", "power_gated_at"})
_KNOWN = frozenset({*WHOLE, *REAL, *BOOLEAN, *ALIASES, *TEXT})
# What estimators know and a misspelling may not be mistaken for.
_ESTIMATOR = frozenset({
    "multiplier_width", "adder_width", "width_a", "width_b", "n_bits", "precision", "mantissa", "exponent", "latency",
    "cycle_seconds", "version", "size", "tech_node", "n_rw_banks", "cache_type", "address_width", "data_width",
})  # fmt: skip


class Attributes:
    """A scope of attributes: its own, on top of those of the containers around it."""

    def __init__(self, values: Mapping[str, Value | None] | None = None) -> None:
        self._values: dict[str, Value | None] = dict(values or {})

    def pairs(self) -> tuple[tuple[str, Value | None], ...]:
        """(name, value) pairs in the order written."""
        return tuple(self._values.items())

    def get(self, name: str) -> Value | None:
        """The value of `name`, None when absent."""
        return self._values.get(name)

    def read(self, fields: Fields | None) -> Attributes:
        """A scope inside this one with the attributes of `fields`, each checked; an expression sees those before it.

        Raises:
            SpecError: an expression that cannot be computed, a value out of range, or a misspelt name.
        """
        scope = Attributes(self._values)
        if fields is not None:
            for written, raw in list(fields.items()):
                name = ALIASES.get(written, written)
                scope._values[name] = _check(fields, written, name, raw, scope._values)
        return scope


def quoted(value: Value | None) -> Value | None:
    """The value as written in a spec: text is quoted once more where it would be read as an expression."""
    if isinstance(value, str):
        try:
            evaluate(value, {})
        except ExpressionError:
            return value
        return f"'{value}'"
    return value


def _check(fields: Fields, written: str, name: str, raw: Any, variables: Mapping[str, Value | None]) -> Value | None:
    if name not in _KNOWN and name not in _ESTIMATOR:
        near = [k for k in _KNOWN if k.lower() == name.lower()] or get_close_matches(name, sorted(_KNOWN), n=1, cutoff=0.78)
        if near:
            raise fields.error(written, "a known attribute", raw, f"did you mean {near[0]!r}?")
    if raw is None:
        return None
    if not isinstance(raw, (int, float, str)):
        raise fields.error(written, "a number, true or false, or text", raw)
    value = _compute(fields, written, name, raw, variables) if isinstance(raw, str) else raw
    if name in WHOLE:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, (bool, str, float)) or value < WHOLE[name]:
            raise fields.error(written, f"a whole number of at least {WHOLE[name]}", raw)
    elif name in REAL and (isinstance(value, (bool, str)) or not value >= REAL[name]):
        raise fields.error(written, f"a number of at least {REAL[name]}", raw)
    elif name in BOOLEAN and not isinstance(value, bool) and value not in (0, 1):
        raise fields.error(written, "true or false", raw)
    return bool(value) if name in BOOLEAN else value


def _compute(fields: Fields, written: str, name: str, raw: str, variables: Mapping[str, Value | None]) -> Value:
    known = {k: v for k, v in variables.items() if v is not None}
    try:
        return evaluate(raw, known)
    except ExpressionError as error:
        if name in WHOLE or name in REAL or name in BOOLEAN:
            raise fields.error(written, "a number or an expression of attributes above it", raw, str(error)) from None
        return raw  # free text such as a technology or a memory type
