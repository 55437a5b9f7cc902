"""The card of an exported network: what was done to it, what it costs, and how its files were checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import prod
from typing import Any

import hwloop
from hwloop.network.accuracy.pieces import Pieces
from hwloop.network.export.check import Agreement
from hwloop.report.result import Front
from hwloop.report.run_data import RunData, baselines
from hwloop.report.tables import count_text, energy_text, percent, size_text
from hwloop.spec.plan_row import plan_row


def card_document(
    run: RunData,
    front: Front,
    at: int,
    pieces: Pieces,
    agreement: Sequence[Agreement],
    timeloop: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
) -> dict[str, Any]:
    """The card as plain data.

    Args:
        run: the network's.
        front: its target's.
        at: the member's place on the front.
        pieces: the network.
        agreement: how its files were checked.
        timeloop: the index of its Timeloop inputs.
        notes: on the ONNX file.
    """
    member, reference = front.members[at], front.reference
    layers = []
    shares = plan_row(member.plan)
    for entry in pieces.registry.entries:
        weight = entry.read(pieces.network)
        step = pieces.steps.get(entry.name)
        layers.append(
            {
                "name": entry.name, "kind": entry.kind, "shape": list(entry.shape), "weights": prod(entry.shape),
                "nonzero": int(weight.count_nonzero()), "bits": pieces.bits.get(entry.name),
                "steps": 0 if step is None else step.numel(),
                "activation_bits": next((b for (layer, _), (b, _) in pieces.spans.items() if layer in entry.layers), None),
            }
        )  # fmt: skip
    return {
        "hwloop": hwloop.__version__,
        "run": str(run.folder),
        "network": run.config.get("model"),
        "data": run.config.get("data"),
        "target": front.target,
        "member": at + 1,
        "plan": member.plan.to_dict(),
        "plan_row": shares,
        "pruned": member.pruned,
        "metrics": dict(member.metrics),
        "reference": dict(reference.metrics),
        "test_accuracy": {"before": reference.test_accuracy, "after": member.test_accuracy},
        "factors": {metric: front.factor(member, metric) for metric in ("energy_pj", "cycles", "size_bits")},
        "sizes": dict(member.sizes),
        "baselines": asdict(baselines(run)),
        "layers": layers,
        "agreement": [{**asdict(each), "accuracy": each.accuracy} for each in agreement],
        "timeloop": list(timeloop),
        "notes": list(notes),
        "versions": dict(run.versions),
    }


def card_markdown(card: Mapping[str, Any]) -> str:
    """The card for people."""
    metrics, factors, tested = card["metrics"], card["factors"], card["test_accuracy"]
    lines = [
        f"# {card['network']} on {card['data']}, member {card['member']} of the front on {card['target']}", "",
        "| | this network | against the network that is not compressed |", "| --- | --- | --- |",
        f"| validation accuracy | {percent(metrics['accuracy'])} | {percent(card['reference']['accuracy'])} |",
        f"| test accuracy | {percent(tested['after'])} | {percent(tested['before'])} |",
        f"| energy per image | {energy_text(metrics['energy_pj'])} | {factors['energy_pj']:.1f}x less |",
        f"| cycles | {count_text(metrics['cycles'])} | {factors['cycles']:.1f}x fewer |",
        f"| size | {size_text(metrics['size_bits'])} | {factors['size_bits']:.1f}x smaller |",
        f"| weights pruned | {percent(card['pruned'], 1)} | |", "",
        *(f"- {text}" for text in card["baselines"].values()), "",
        "## Layers", "", "| layer | shape | kept | weight bits | activation bits |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for layer in card["layers"]:
        kept = percent(layer["nonzero"] / layer["weights"], 1)
        bits, inputs = (layer[name] if layer[name] is not None else "float" for name in ("bits", "activation_bits"))
        lines.append(f"| {layer['name']} | {' x '.join(map(str, layer['shape']))} | {kept} | {bits} | {inputs} |")
    lines += ["", "## Checked", "", "| form | images | right | top-1 | other class than the run's network |", "| --- " * 5 + "|"]
    for each in card["agreement"]:
        right = "-" if each["right"] is None else each["right"]
        lines.append(f"| {each['name']} | {each['images']} | {right} | {percent(each['accuracy'])} | {each['differing']} |")
    lines += ["", "## Timeloop", ""]
    runs = sum(len(row["runs"]) for row in card["timeloop"])
    layers = sum(row["energy_pj"] for row in card["timeloop"])
    lines += [
        f"{runs} inputs for {len(card['timeloop'])} layers, which need {energy_text(layers)} of the energy above; the rest is "
        "work between layers. `timeloop/index.json` has what `timeloop-model *.yaml` will say in each folder.", "",
    ]  # fmt: skip
    lines += ["## Files", "", *_FILES, ""]
    if card["notes"]:
        lines += ["## Notes", "", *(f"- {note}" for note in card["notes"]), ""]
    return "\n".join([*lines, f"hwloop {card['hwloop']}, run {card['run']}", ""])


_FILES = (
    "- `weights.safetensors`: weights as whole numbers packed at their bits, with their steps; `network.json`: how to build the "
    "network. `hwloop.load_export(folder)` gives the torch module.",
    "- `state_dict.pt`: the same weights in floating point.",
    "- `network.onnx`: weights as int8 or int16 behind DequantizeLinear, activations through QuantizeLinear and back.",
    "- `timeloop/`: problem, architecture, mapping and energies of every layer.",
    "- `card.json`: this card as data.",
)
