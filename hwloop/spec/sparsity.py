"""Sparse optimisations of a level: representation formats, gating and skipping (Sparseloop, MICRO 2022, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hwloop.spec.document import Fields
from hwloop.spec.limits import DATA_SPACES, RANKS, TARGETS

FORMATS = ("UOP", "CP", "B", "RLE", "UB")
_UNCOMPRESSED = frozenset({"U", "NONE", "UNCOMPRESSED"})  # all ranks so: the data space has no format
ACTIONS = ("gating", "skipping", "skipping_spatial")
COMPUTE = {
    "gating": "gating", "gate_on_zero_operand": "gating", "skipping": "skipping", "skip_on_not_aligned_operands": "skipping",
}  # fmt: skip
ORDERS = ("outer_to_inner", "inner_to_outer")


@dataclass(frozen=True)
class RankFormat:
    """How one rank of a tile is stored.

    Attributes:
        format: one of `FORMATS`.
        metadata_word_bits: bits of a coordinate or run length, None for the level's `metadata_datawidth` (1 for a bitmask).
        payload_word_bits: bits of a payload (offset), None for the level's `metadata_datawidth`.
        flattened_rank_ids: groups of dimensions that may be flattened into this rank: it takes neighbouring loops of one group;
            empty when it takes one loop of any dimension.
    """

    format: str
    metadata_word_bits: int | None = None
    payload_word_bits: int | None = None
    flattened_rank_ids: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class RepresentationFormat:
    """The format of one data space at one level.

    Attributes:
        data_space: its name.
        ranks: from the outermost to the innermost.
        rank_application_order: `outer_to_inner` assigns ranks from the outermost loop inwards (spare ranks are the inner ones),
            `inner_to_outer` the other way round.
    """

    data_space: str
    ranks: tuple[RankFormat, ...]
    rank_application_order: str = "outer_to_inner"


@dataclass(frozen=True)
class ActionOption:
    """Accesses to `target` are saved where the `condition_on` data spaces are zero."""

    target: str
    condition_on: tuple[str, ...]


@dataclass(frozen=True)
class ActionOptimization:
    """Storage accesses saved at a level.

    Attributes:
        kind: one of `ACTIONS`.
        options: what may be saved on what; the one that saves most under the mapping is taken.
    """

    kind: str
    options: tuple[ActionOption, ...]


@dataclass(frozen=True)
class SparseOptimizations:
    """All sparse optimisations of one level. Empty means a dense level.

    Attributes:
        representation: formats by data space.
        actions: gating and skipping of storage accesses.
        compute: `gating`, `skipping` or both, at the compute level.
    """

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
                {
                    "type": action.kind,
                    "options": [{"target": o.target, "condition_on": list(o.condition_on)} for o in action.options],
                }
                for action in self.actions
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
    if r.rank_application_order != ORDERS[0]:
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
        for entry in block.each("data_spaces", DATA_SPACES):
            found = _read_format(entry)
            if found is not None:
                representation.append(found)
        block.finish()
    actions: list[ActionOptimization] = []
    for entry in fields.each("action_optimization", TARGETS):
        actions.append(_read_action(entry))
    compute: list[str] = []
    for entry in fields.each("compute_optimization", TARGETS):
        written = entry.take("type", str)
        if written not in COMPUTE:
            raise entry.error("type", "gating or skipping", written)
        compute.append(COMPUTE[written])
        entry.finish()
    fields.finish()
    return SparseOptimizations(tuple(representation), tuple(actions), tuple(compute))


def _read_action(entry: Fields) -> ActionOptimization:
    kind = entry.take("type", str)
    kind = "skipping_spatial" if kind in ("spatial_skipping", "spatial-skipping") else kind
    if kind not in ACTIONS:
        raise entry.error("type", f"one of {ACTIONS}", kind)
    if "options" in entry:
        parts = list(entry.each("options", TARGETS))
        if not parts:
            raise entry.error("options", "at least one target with condition_on", None)
        options = tuple(_read_option(part) for part in parts)
        for part in parts:
            part.finish()
    else:
        options = (_read_option(entry),)
    entry.finish()
    return ActionOptimization(kind, options)


def _read_option(entry: Fields) -> ActionOption:
    condition = entry.raw("condition_on")
    names = [condition] if isinstance(condition, str) else condition
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise entry.error("condition_on", "a list of data spaces", condition)
    return ActionOption(entry.take("target", str), tuple(names))


def _read_format(entry: Fields) -> RepresentationFormat | None:
    name = entry.take("name", str)
    order = entry.take("rank_application_order", str, ORDERS[0]).replace("-", "_")
    if order not in ORDERS:
        raise entry.error("rank_application_order", f"one of {ORDERS}", order)
    entry.raw("compression_rate")  # a placeholder of the real program, without effect there
    ranks = []
    written_ranks = entry.items_of("ranks", RANKS)
    if written_ranks and all(isinstance(r, dict) and str(r.get("format")).upper() in _UNCOMPRESSED for r in written_ranks):
        entry.finish()
        return None
    for i, raw in enumerate(written_ranks):
        rank = Fields(raw, entry.source, entry.where(f"ranks[{i}]"))
        written = rank.take("format", str).upper()
        if written not in FORMATS:
            raise rank.error(
                "format", f"one of {FORMATS}", written, "leave the data space out when it is stored uncompressed, or use UB"
            )
        metadata = rank.take("metadata_word_bits", int, None)
        payload = rank.take("payload_word_bits", int, None)
        groups = rank.raw("flattened_rankIDs", None) or rank.raw("flattened_rank_ids", None) or []
        if not isinstance(groups, list) or not all(isinstance(group, (list, tuple)) for group in groups):
            raise rank.error("flattened_rankIDs", "a list of lists of dimensions", groups)
        ranks.append(RankFormat(written, metadata, payload, tuple(tuple(str(d) for d in group) for group in groups)))
        rank.finish()
    if not ranks:
        raise entry.error("ranks", "at least one rank with a format", None)
    entry.finish()
    return RepresentationFormat(name, tuple(ranks), order)
