"""What is there by name: networks, accelerators, dataflows, component classes; a row of plain values each."""

from __future__ import annotations

from collections.abc import Callable

from hwloop.backend.target import make_targets
from hwloop.energy.components import CLASSES
from hwloop.report.breakdown import Row
from hwloop.report.case import area_of, on_chip_kib
from hwloop.spec.resources import open_architecture, open_mapping
from hwloop.spec.shipped import architecture_names, find_architecture, mapping_names


def list_models() -> list[Row]:
    """Networks by name, with the images they were designed for."""
    from hwloop.network.zoo.models import OWN, model_names, native_input  # loads torch

    rows = []
    for name in model_names():
        channels, pixels = native_input(name)
        rows.append({"model": name, "input": f"{channels}x{pixels}x{pixels}", "from": "hwloop" if name in OWN else "torchvision"})
    return rows


def list_accelerators() -> list[Row]:
    """Shipped accelerators, with size and area."""
    rows = []
    for name in architecture_names():
        arch, [target] = open_architecture(name), make_targets(name)
        area = area_of(target)
        rows.append({
            "accelerator": name, "mac_units": arch.compute.instances, "on_chip_kib": round(on_chip_kib(arch), 1),
            "area_mm2": None if area is None else round(area, 3), "what": _first_sentence(name),
        })  # fmt: skip
    return rows


def list_dataflows() -> list[Row]:
    """Shipped dataflows."""
    rows = []
    for name in mapping_names():
        flow = open_mapping(name)
        rows.append({"dataflow": name, "what": flow.description})
    return rows


def list_classes() -> list[Row]:
    """Component classes that the energy estimators know."""
    return [{"class": name, "what": what} for what, names in CLASSES.items() for name in sorted(names)]


def _first_sentence(name: str) -> str:
    """Of the comment that an accelerator's file begins with."""
    lines = []
    for line in find_architecture(name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines).partition(". ")[0].rstrip(".")


LISTS: dict[str, Callable[[], list[Row]]] = {
    "models": list_models, "accelerators": list_accelerators, "dataflows": list_dataflows, "classes": list_classes,
}  # fmt: skip
