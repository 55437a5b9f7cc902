"""What a search can minimise or bound, and how the numbers become `F` and `G`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import SpecError
from hwloop.units import PJ_PER_MJ, PJ_PER_UJ, UM2_PER_MM2

Floats = NDArray[np.float64]
WORST = 1e30  # finite, as selection takes differences
BOUNDED = "accuracy"  # may be known as a bound alone
AT_MOST = "accuracy_at_most"


@dataclass(frozen=True)
class Objective:
    """One number of a candidate.

    Attributes:
        name: as a user writes it.
        metric: key in a candidate's metrics.
        label: for axes and tables, with the unit.
        maximise: True for accuracy; it enters `F` with the sign turned.
    """

    name: str
    metric: str
    label: str
    maximise: bool = False

    def to_f(self, value: float) -> float:
        """The value as it is minimised."""
        return -value if self.maximise else value


AREA = Objective("area", "area_um2", "area of the components [um^2]")  # where the accelerator is searched, too
OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("accuracy", "accuracy", "validation accuracy", maximise=True),
        Objective("energy", "energy_pj", "energy per image [pJ]"),
        Objective("latency", "cycles", "latency [cycles]"),
        Objective("edp", "edp", "energy-delay product [pJ x cycles]"),
        Objective("size", "size_bits", "model size [bits]"),
        Objective("flops", "macs", "effectual multiply-accumulates"),
        AREA,
    )
}
_ALIASES = {"cycles": "latency", "energy_pj": "energy", "size_bits": "size", "macs": "flops", "area_um2": "area"}
_UNITS = {  # factor to the metric's unit; where "" is missing a unit must be given
    "energy": {"pj": 1.0, "nj": 1e3, "uj": PJ_PER_UJ, "mj": PJ_PER_MJ},
    "size": {"b": 8.0, "bit": 1.0, "bits": 1.0, "kb": 8e3, "kib": 8192.0, "mb": 8e6, "mib": 8.0 * 2**20},
    "accuracy": {"": 1.0, "%": 0.01},
    "area": {"um2": 1.0, "mm2": UM2_PER_MM2},
}
_EXAMPLES = "e.g. energy<=2.5uJ, latency<=1e6, size<=40kB, accuracy>=97%, area<=2mm2"
_BUDGET = re.compile(r"\s*([A-Za-z_]+)\s*(<=|>=)\s*([0-9.]+(?:[eE][+-]?\d+)?)\s*((?:[A-Za-z%][A-Za-z0-9%]*)?)\s*")


@dataclass(frozen=True)
class Budget:
    """A bound on a metric: `G = (value - bound) / |bound| <= 0`, with the sign turned for a lower bound.

    Attributes:
        objective: what is bounded.
        relation: `<=` or `>=`.
        bound: in the metric's unit.
    """

    objective: Objective
    relation: str
    bound: float

    def violation(self, value: float) -> float:
        """`G` of a value: at most 0 when the budget is met, relative to the bound."""
        distance = value - self.bound if self.relation == "<=" else self.bound - value
        return distance / max(abs(self.bound), 1e-30)

    def __str__(self) -> str:
        return f"{self.objective.name} {self.relation} {self.bound:g}"


def find_objective(name: str) -> Objective:
    """The objective called `name`.

    Raises:
        SpecError: there is none.
    """
    key = _ALIASES.get(name.strip().lower(), name.strip().lower())
    if key not in OBJECTIVES:
        near = get_close_matches(key, OBJECTIVES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else ""
        raise SpecError("<arguments>", "objectives", f"among {', '.join(OBJECTIVES)}", name, hint)
    return OBJECTIVES[key]


def find_objectives(names: Sequence[str]) -> tuple[Objective, ...]:
    """The objectives called `names`, distinct, at least one.

    Raises:
        SpecError: none, an unknown or a repeated one.
    """
    found = tuple(find_objective(name) for name in names)
    if not found or len(set(found)) != len(found):
        raise SpecError("<arguments>", "objectives", f"distinct names among {', '.join(OBJECTIVES)}", list(names))
    return found


def read_budget(text: str | Budget) -> Budget:
    """Reads `energy<=2.5uJ`, `latency<=1e6` (cycles), `size<=40kB`, `accuracy>=97%` (or 0.97).

    Raises:
        SpecError: anything else, an energy or a size without its unit, an accuracy above 1.
    """
    if isinstance(text, Budget):
        return text
    match = _BUDGET.fullmatch(text)
    if match is None:
        raise SpecError("<arguments>", "budgets", "an objective, <= or >=, and a number", text, _EXAMPLES)
    objective, unit = find_objective(match[1]), match[4].lower()
    units = _UNITS.get(objective.name, {"": 1.0})
    if unit not in units:
        known = ", ".join(u for u in units if u) or "no unit"
        raise SpecError(
            "<arguments>", "budgets", f"a unit of {objective.name} ({known})", text if not unit else match[4], _EXAMPLES
        )
    try:
        bound = float(match[3]) * units[unit]
    except ValueError:
        raise SpecError("<arguments>", "budgets", "a number", match[3], _EXAMPLES) from None
    if objective.maximise and bound > 1:
        raise SpecError("<arguments>", "budgets", "an accuracy of at most 1 or 100%", text, _EXAMPLES)
    return Budget(objective, match[2], bound)


def to_f(metrics: Sequence[Mapping[str, float]], objectives: Sequence[Objective]) -> Floats:
    """`(n, n_obj)` values to minimise; what a candidate that no mapping fits does not have counts as `WORST`.

    An accuracy that is known as a bound alone counts as the bound.
    """
    bounds = [{BOUNDED: entry[AT_MOST]} if AT_MOST in entry else {} for entry in metrics]
    known = [bound | dict(entry) for bound, entry in zip(bounds, metrics, strict=True)]
    rows = [[o.to_f(entry[o.metric]) if o.metric in entry else WORST for o in objectives] for entry in known]
    return np.array(rows, np.float64).reshape(len(metrics), len(objectives))


def to_g(metrics: Sequence[Mapping[str, float]], budgets: Sequence[Budget]) -> Floats:
    """`(n, 1 + n_budgets)` violations, feasible where all are `<= 0`.

    The first column is 1 where no mapping fits (there is no energy) and 0 elsewhere; then comes each budget.
    """
    rows = [
        [0.0 if "energy_pj" in entry else 1.0, *(b.violation(entry.get(b.objective.metric, WORST)) for b in budgets)]
        for entry in metrics
    ]
    return np.array(rows, np.float64).reshape(len(metrics), 1 + len(budgets))
