"""The accelerators of a co-design's front, as text and as numbers."""

from __future__ import annotations

from collections.abc import Sequence

from hwloop.report.result import Front, Member
from hwloop.report.sweep_tables import short_labels, value_text
from hwloop.report.tables import metric_text, percent, table

_SHOWN = 20
_COLUMNS = (("accuracy", "accuracy"), ("energy_pj", "energy"), ("cycles", "cycles"), ("area_um2", "area"))


def design_text(front: Front, most: int = _SHOWN) -> str:
    """Each member of a front with its accelerator; the reference, on the accelerator as given, first.

    Args:
        front: of a co-design.
        most: show at most this many members, evenly spread.
    """
    paths = list(dict.fromkeys(path for member in front.members for path, _ in member.plan.accelerator))
    labels = short_labels(paths)
    used = len({member.plan.accelerator for member in front.members})
    shown = _spread(front.members, most)
    rows = [_row(front.reference, paths, "as given")] + [_row(member, paths, "") for member in shown]
    header = ("", *(name for _, name in _COLUMNS), "bits", "pruned", *labels.values())
    legend = [f"{label}: {path}" for path, label in labels.items() if label != path]
    title = f"{front.target}: {used} accelerators on the front"
    title += f", {len(shown)} of {len(front.members)} members shown" if len(shown) < len(front.members) else ""
    return "\n".join([title, *legend, "", table(rows, header, left=(0,))])


def _row(member: Member, paths: Sequence[str], mark: str) -> list[str]:
    said = dict(member.plan.accelerator)
    cells = [metric_text(name, member.metrics[name]).removesuffix(" cycles") for name, _ in _COLUMNS]
    bits = f"{member.mean_bits:.1f}"
    return [mark, *cells, bits, percent(member.pruned, 0), *(value_text(said.get(path, "-")) for path in paths)]


def _spread(members: Sequence[Member], most: int) -> list[Member]:
    if len(members) <= most:
        return list(members)
    return [members[round(i * (len(members) - 1) / (most - 1))] for i in range(most)]
