"""What the page of a compression run knows about each target, as plain data for its script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hwloop.energy.listing import action_lines
from hwloop.errors import EnergyTableError
from hwloop.mapper.describe import loop_nest
from hwloop.report.html.page import plain
from hwloop.report.result import Front, Member
from hwloop.report.run_data import Metrics, RunData
from hwloop.report.run_report import marks_of
from hwloop.report.saved_layers import SavedLayer, SavedNetwork, SavedTarget
from hwloop.report.tables import bits_text, energy_text, percent, size_text
from hwloop.spec.architecture import Architecture
from hwloop.spec.bits import elsewhere
from hwloop.spec.energy_table import EnergyTable

METRICS = ("accuracy", "energy_pj", "cycles", "size_bits", "edp")
_CLOUD = 2000  # points drawn of what was evaluated
_HOVER_LAYERS = 12


def run_json(run: RunData) -> dict[str, Any]:
    """Every target of a run; of one that has no front yet what was evaluated."""
    fronts = {front.target: front for front in run.fronts}
    return {"targets": [_target(name, fronts.get(name), run) for name in run.targets]}


def _target(name: str, front: Front | None, run: RunData) -> dict[str, Any]:
    texts = _Texts()
    members = [] if front is None else _members(front, run.layers.get(name), texts)
    return {"name": name, "members": members, "cloud": _cloud(run.evaluated.get(name, ())), **texts.lists}


def _members(front: Front, saved: SavedTarget | None, texts: _Texts) -> list[dict[str, Any]]:
    networks: list[SavedNetwork | None] = [None] * (1 + len(front.members))
    if saved is not None:
        networks = [saved.reference, *saved.members]
    marks = marks_of(front)
    out = []
    for at, (member, network) in enumerate(zip((front.reference, *front.members), networks, strict=True)):
        label = f"member {at}" if at else "dense reference"
        said = ", ".join(marks.get(at, ()))
        out.append(
            {
                "label": label,
                "long": f"{label}{f' ({said})' if said else ''}: {percent(member.metrics['accuracy'])}, "
                f"{energy_text(member.metrics['energy_pj'])}, {front.factor(member):.1f}x less",
                "best": "best within 0.3" in marks.get(at, ()),
                "hover": _hover(front, member, network, label, said),
                **{metric: _short(member.metrics[metric]) for metric in METRICS if metric in member.metrics},
                "layers": [] if network is None else [_layer(layer, texts) for layer in network.layers],
                "operations": [] if network is None else [[n, _short(e), c] for n, e, c in network.operations],
                "resident": "" if network is None or not network.resident
                else f"{len(network.resident)} feature maps stay at {network.level}: {', '.join(network.resident)}",
            }
        )  # fmt: skip
    return out


def _hover(front: Front, member: Member, network: SavedNetwork | None, label: str, said: str) -> str:
    metrics = member.metrics
    lines = [
        f"<b>{plain(front.target)}, {label}</b>{f' ({said})' if said else ''}",
        f"validation {percent(metrics['accuracy'])}, test {percent(member.test_accuracy)}",
        f"p {percent(member.pruned, 0)}, bits {_wrapped(bits_text(member.weight_bits))}",
        f"{energy_text(metrics['energy_pj'])} ({front.factor(member):.1f}x less), {metrics['cycles']:.4g} cycles, "
        f"{size_text(metrics['size_bits'])}",
    ]
    if network is not None:
        ordered = sorted(network.layers, key=lambda layer: -layer.energy_pj)
        lines += [f"{plain(layer.name)}: {energy_text(layer.energy_pj)}" for layer in ordered[:_HOVER_LAYERS]]
        rest = sum(layer.energy_pj for layer in ordered[_HOVER_LAYERS:])
        lines += [f"{len(ordered) - _HOVER_LAYERS} more layers: {energy_text(rest)}"] if rest else []
        between = sum(energy for _, energy, _ in network.operations)
        lines += [f"between layers: {energy_text(between)}"] if between else []
    return "<br>".join(lines)


def _wrapped(text: str, width: int = 40) -> str:
    """Numbers in lines of a tooltip's width."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return "<br>".join([*lines, line])


def _layer(layer: SavedLayer, texts: _Texts) -> dict[str, Any]:
    densities = {name: density.density for name, density in layer.problem.densities}
    bits = {space: elsewhere(given) for space, given in layer.bits.items()}
    stored = layer.bits.get("Outputs")
    return {
        "name": layer.name,
        "problem": texts.place("problems", layer.problem, lambda: _problem(layer)),
        "nest": texts.place("nests", (layer.mapping, layer.problem.bounds, layer.architecture), lambda: _nest(layer)),
        "table": texts.place("tables", (layer.table, layer.architecture), lambda: _lines(layer.architecture, layer.table)),
        "energy": _short(layer.energy_pj),
        "cycles": layer.cycles,
        "used": round(layer.utilization, 4),
        "bits": [bits.get("Weights"), bits.get("Inputs"), ", ".join(f"{w} at {n}" for n, w in stored.items())
                 if isinstance(stored, Mapping) else str(stored or "")],
        "density": [densities.get("Weights", 1.0), densities.get("Inputs", 1.0)],
        "parts": [[p.component, p.data_space, _short(p.energy_pj), p.instances, *(p.counts or ())] for p in layer.parts],
    }  # fmt: skip


def _problem(layer: SavedLayer) -> str:
    sizes = " ".join(f"{name}={size}" for name, size in layer.problem.sizes.items() if size > 1) or "one operation"
    return f"{layer.problem.shape.name}: {sizes}, {layer.problem.computes:,} MACs when dense"


def _nest(layer: SavedLayer) -> str:
    return loop_nest(layer.mapping, layer.problem, layer.architecture)


def _lines(arch: Architecture, table: EnergyTable) -> list[list[Any]]:
    try:
        lines = action_lines(arch, table)
    except EnergyTableError:
        return []
    return [[x.component, x.instances, x.action, x.energy_pj, x.word_pj, x.area_um2, x.source] for x in lines]


class _Texts:
    """What many layers share, made once."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Any]] = {"problems": [], "nests": [], "tables": []}
        self._places: dict[Any, int] = {}

    def place(self, kind: str, key: Any, make: Any) -> int:
        """Where it stands in the list `kind`; `make()` gives it when it is new."""
        if (kind, key) not in self._places:
            self._places[kind, key] = len(self.lists[kind])
            self.lists[kind].append(make())
        return self._places[kind, key]


def _cloud(evaluated: Sequence[Metrics]) -> dict[str, list[float]]:
    """What was evaluated, evenly thinned; candidates that fit no mapping have no costs and are left out."""
    whole = [metrics for metrics in evaluated if all(metric in metrics for metric in METRICS)]
    step = max(len(whole) / _CLOUD, 1.0)
    chosen = [whole[int(at * step)] for at in range(int(len(whole) / step))]
    return {metric: _shorts(metrics[metric] for metrics in chosen) for metric in METRICS}


def _shorts(values: Iterable[float]) -> list[float]:
    return [_short(value) for value in values]


def _short(value: float) -> float:
    """Six digits: what a page shows, in fewer bytes."""
    return float(f"{value:.6g}")
