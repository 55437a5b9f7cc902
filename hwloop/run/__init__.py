"""Composes the parts: what the CLI and a script both call. Each part is loaded when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "compress": "hwloop.run.compression",
    "CompressResult": "hwloop.run.outputs",
    "Settings": "hwloop.run.settings",
    "Target": "hwloop.backend.target",
    "make_targets": "hwloop.backend.target",
    "export_member": "hwloop.run.export",
    "open_run": "hwloop.run.opened",
    "map_layer": "hwloop.run.networks",
    "map_network": "hwloop.run.networks",
    "compare": "hwloop.run.comparison",
    "Comparison": "hwloop.run.comparison",
    "explain": "hwloop.run.explain",
    "explain_mapping": "hwloop.run.explain",
    "simulate_layer": "hwloop.run.simulation",
    "check_specs": "hwloop.run.checks",
    "NetworkCost": "hwloop.backend.network_cost",
    "open_backend": "hwloop.run.networks",
    "sweep": "hwloop.run.sweeps.sweep",
    "design_targets": "hwloop.run.design_search",
}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'hwloop.run' has no attribute {name!r}")
