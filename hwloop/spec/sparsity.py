"""Sparse optimisations of a level: representation formats, gating and skipping (Sparseloop, MICRO 2022, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hwloop.spec.document import Fields

FORMATS = ("UOP", "CP", "B", "RLE", "UB", "UNCOMPRESSED")
_FORMAT_ALIASES = {"U": "UNCOMPRESSED", "NONE": "UNCOMPRESSED", "BITMASK": "B", "COORDINATE_PAYLOAD": "CP"}
ACTIONS = ("gating", "skipping", "spatial_skipping")


@dataclass(frozen=True)
class RankFormat:
    """How one rank of a tile is stored.

    Attributes:
        format: one of `FORMATS`.
        metadata_word_bits: bits of a coordinate or run length, None for the level's `metadata_datawidth`.
        payload_word_bits: bits of a payload (offset), None for the level's `metadata_datawidth`.
        flattened_rank_ids: groups of dimensions flattened into this rank, one group a loop level; empty when not given.
    """

    format: str
    metadata_word_bits: int | None = None
    payload_word_bits: int | None = None
    flattened_rank_ids: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class RepresentationFormat:
    """The format of one data space at one level, ranks from the outermost to the innermost."""

    data_space: str
    ranks: tuple[RankFormat, ...]
    rank_application_order: str = "inner-to-outer"


@dataclass(frozen=True)
class ActionOptimization:
    """A storage access saved: `target` is gated or skipped where the `condition_on` data spaces are zero."""

    kind: str
    target: str
    condition_on: tuple[str, ...]


@dataclass(frozen=True)
class SparseOptimizations:
    """All sparse optimisations of one level. Empty means a dense level."""

    representation: tuple[RepresentationFormat, ...] = ()
    actions: tuple[ActionOptimization, ...] = ()
    compute: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.representation or self.actions or self.compute)

    def to_dict(self) -> dict[str, Any]:
        """As under a v0.4 node's `sparse_optimizations`."""
        out: dict[str, Any] = {}
        if self.representation:
            out["representation_format"] = {"data_spaces": [_format_to_dict(r) for r in self.representation]}
        if self.actions:
            out["action_optimization"] = [
                {"type": a.kind, "options": [{"target": a.target, "condition_on": list(a.condition_on)}]} for a in self.actions
            ]
        if self.compute:
            out["compute_optimization"] = [{"type": kind} for kind in self.compute]
        return out


def _format_to_dict(r: RepresentationFormat) -> dict[str, Any]:
    ranks = []
    for rank in r.ranks:
        entry: dict[str, Any] = {"format": rank.format}
        if rank.metadata_word_bits is not None:
            entry["metadata_word_bits"] = rank.metadata_word_bits
        if rank.payload_word_bits is not None:
            entry["payload_word_bits"] = rank.payload_word_bits
        if rank.flattened_rank_ids:
            entry["flattened_rankIDs"] = [list(group) for group in rank.flattened_rank_ids]
        ranks.append(entry)
    out: dict[str, Any] = {"name": r.data_space, "ranks": ranks}
    if r.rank_application_order != "inner-to-outer":
        out["rank_application_order"] = r.rank_application_order
    return out


def read_sparse_optimizations(fields: Fields) -> SparseOptimizations:
    """Reads the block under `sparse_optimizations` of a node, or one target of the top-level list.

    Raises:
        SpecError: an unknown format, action or field.
    """
    representation: list[RepresentationFormat] = []
    block = fields.sub("representation_format")
    if block is not None:
        for i, raw in enumerate(block.raw("data_spaces") or []):
            representation.append(_read_format(Fields(raw, fields.source, block.where(f"data_spaces[{i}]"))))
        block.finish()
    actions: list[ActionOptimization] = []
    for i, raw in enumerate(fields.raw("action_optimization") or []):
        entry = Fields(raw, fields.source, fields.where(f"action_optimization[{i}]"))
        kind = entry.take("type", str).replace("-", "_")
        if kind not in ACTIONS:
            raise entry.error("type", f"one of {ACTIONS}", kind)
        for j, option in enumerate(entry.raw("options") or []):
            sub = Fields(option, fields.source, entry.where(f"options[{j}]"))
            condition = sub.raw("condition_on")
            names = [condition] if isinstance(condition, str) else condition
            if not isinstance(names, list) or not names:
                raise sub.error("condition_on", "a list of data spaces", condition)
            actions.append(ActionOptimization(kind, sub.take("target", str), tuple(str(n) for n in names)))
            sub.finish()
        entry.finish()
    compute: list[str] = []
    for i, raw in enumerate(fields.raw("compute_optimization") or []):
        entry = Fields(raw, fields.source, fields.where(f"compute_optimization[{i}]"))
        kind = entry.take("type", str)
        if kind not in ("gating", "skipping"):
            raise entry.error("type", "gating or skipping", kind)
        compute.append(kind)
        entry.finish()
    fields.finish()
    return SparseOptimizations(tuple(representation), tuple(actions), tuple(compute))


def _read_format(entry: Fields) -> RepresentationFormat:
    name = entry.take("name", str)
    order = str(entry.raw("rank_application_order", "inner-to-outer") or "inner-to-outer")
    ranks = []
    for i, raw in enumerate(entry.raw("ranks") or []):
        rank = Fields(raw, entry.source, entry.where(f"ranks[{i}]"))
        written = rank.take("format", str).upper()
        kind = _FORMAT_ALIASES.get(written, written)
        if kind not in FORMATS:
            raise rank.error("format", f"one of {FORMATS}", written)
        word = rank.take("word_bits", int, None)
        metadata = rank.take("metadata_word_bits", int, word)
        payload = rank.take("payload_word_bits", int, word)
        groups = rank.raw("flattened_rankIDs", None) or rank.raw("flattened_rank_ids", None) or []
        flattened = tuple(tuple(str(d) for d in group) for group in groups)
        ranks.append(RankFormat(kind, metadata, payload, flattened))
        rank.finish()
    if not ranks:
        raise entry.error("ranks", "at least one rank with a format", None)
    entry.finish()
    return RepresentationFormat(name, tuple(ranks), order)
