"""hwloop: compress deep networks for a given accelerator, with a simulator of that accelerator in the loop.

The public names, without side effects: importing this package loads neither torch nor matplotlib.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # typing and the like would be loaded before the program can say what Ctrl-C does
if TYPE_CHECKING:
    from typing import Any

    from hwloop.errors import DataError as DataError
    from hwloop.errors import EnergyTableError as EnergyTableError
    from hwloop.errors import HwloopError as HwloopError
    from hwloop.errors import InfeasibleMappingError as InfeasibleMappingError
    from hwloop.errors import MemoError as MemoError
    from hwloop.errors import SimulatorError as SimulatorError
    from hwloop.errors import SpecError as SpecError
    from hwloop.errors import SpecWarning as SpecWarning

__version__ = "0.1.0"

_HOME = {
    "DataError": "hwloop.errors",
    "EnergyTableError": "hwloop.errors",
    "HwloopError": "hwloop.errors",
    "InfeasibleMappingError": "hwloop.errors",
    "MemoError": "hwloop.errors",
    "SimulatorError": "hwloop.errors",
    "SpecError": "hwloop.errors",
    "SpecWarning": "hwloop.errors",
    "load_architecture": "hwloop.spec.architecture",
    "load_problem": "hwloop.spec.problem",
    "load_mapping": "hwloop.spec.mapping",
    "load_constraints": "hwloop.spec.constraint_sets",
    "load_energy_table": "hwloop.spec.energy_table",
    "MappingBatch": "hwloop.spec.batch",
    "Workload": "hwloop.spec.workload",
    "Plan": "hwloop.spec.plan",
    "load_plan": "hwloop.spec.plan",
    "make_plan": "hwloop.spec.plan",
    "estimate_energy_table": "hwloop.energy",
    "simulate": "hwloop.simulator",
    "simulate_batch": "hwloop.simulator",
    "BatchCost": "hwloop.simulator",
    "LayerCost": "hwloop.simulator",
    "map_problem": "hwloop.mapper",
    "Memo": "hwloop.memo",
    "trace": "hwloop.network.tracing.trace",
    "compress": "hwloop.run",
    "Settings": "hwloop.run",
    "export_member": "hwloop.run",
    "load_export": "hwloop.network.export.files",
    "map_network": "hwloop.run",
    "compare": "hwloop.run",
    "Comparison": "hwloop.run",
    "explain": "hwloop.run",
    "explain_mapping": "hwloop.run",
    "simulate_layer": "hwloop.run",
    "check_specs": "hwloop.run",
    "sweep": "hwloop.run",
    "design_targets": "hwloop.run",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'hwloop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
