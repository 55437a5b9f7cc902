"""Holds hwloop against the real Timeloop, live: accelerators x layers x densities x bits, on given mappings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

from hwloop.backend.simulators import Simulator
from hwloop.errors import InfeasibleMappingError, SimulatorError
from hwloop.simulator import LayerCost, simulate
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.problem import Problem
from hwloop.validate.compare import compare_costs
from hwloop.validate.verify import DENSE_SLACK, FEASIBILITY, SPARSE_SLACK, Agreement, Report


@dataclass(frozen=True)
class LiveCase:
    """One thing to ask both simulators.

    Attributes:
        id: accelerator, layer, density and bits, for people.
        problem: the layer with its densities.
        architecture: the accelerator.
        table: its energies at these bits.
        mapping: what to cost.
        bits: bits of a value by data space; None for the accelerator's own.
    """

    id: str
    problem: Problem
    architecture: Architecture
    table: EnergyTable
    mapping: LoopMapping
    bits: dict[str, int] | None = None


@dataclass
class LiveReport:
    """Agreement by group of cases, and what there is to say of the programs.

    Attributes:
        groups: agreement by the group's name, e.g. an accelerator.
        energy_gap: by group, the largest relative difference in a layer's energy.
        unanswered: cases for which the outside program crashed or timed out, with its message.
        seconds: wall clock by simulator.
    """

    groups: dict[str, Report] = field(default_factory=dict)
    energy_gap: dict[str, float] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether every group agrees."""
        return all(report.agrees for report in self.groups.values())


def make_cases(
    name: str,
    architecture: Architecture,
    layers: Sequence[Problem],
    densities: Sequence[float],
    bits: Sequence[int],
    energies: Callable[[Mapping[str, int] | None], EnergyTable],
    find_mapping: Callable[[Problem, dict[str, int]], LoopMapping],
) -> list[LiveCase]:
    """Every layer at every density and width; weights and inputs share both.

    Args:
        name: of the accelerator, for the ids.
        architecture: the accelerator.
        layers: problems.
        densities: of weights and inputs; 1 is dense.
        bits: of weights and inputs.
        energies: energy table for bits by data space.
        find_mapping: a mapping for a problem and bits; called once a layer and width.

    Raises:
        InfeasibleMappingError: from `find_mapping`.
    """
    cases = []
    for layer in layers:
        for width in bits:
            widths = {"Weights": width, "Inputs": width}
            mapping = find_mapping(layer, widths)
            for density in densities:
                named = {"Weights": density, "Inputs": density} if density < 1 else {}
                problem = replace(layer.with_densities(named), name=layer.name)
                case = f"{name} {layer.name} density {density:g} bits {width}"
                cases.append(LiveCase(case, problem, architecture, energies(widths), mapping, widths))
    return cases


def run_against(
    outside: Simulator, groups: Mapping[str, Sequence[LiveCase]], on_case: Callable[[str], None] | None = None
) -> LiveReport:
    """Asks both simulators every case.

    Args:
        outside: the real one.
        groups: cases by the group they are reported under.
        on_case: called with the id after each case.
    """
    out = LiveReport()
    for group, cases in groups.items():
        report = out.groups.setdefault(group, Report())
        out.energy_gap[group] = 0.0
        for case in cases:
            _ask_both(outside, case, group, report, out)
            if on_case is not None:
                on_case(case.id)
    return out


def _ask_both(outside: Simulator, case: LiveCase, group: str, report: Report, out: LiveReport) -> None:
    report.cases += 1
    arguments = (case.problem, case.architecture, case.mapping, case.table, case.bits)
    began = perf_counter()
    ours, our_refusal = _attempt(lambda: simulate(*arguments))
    between = perf_counter()
    try:
        theirs, their_refusal = _attempt(lambda: outside.simulate(*arguments))
    except SimulatorError as error:
        out.unanswered[case.id] = str(error).splitlines()[0]
        return
    ended = perf_counter()
    for name, seconds in (("embedded", between - began), (outside.name, ended - between)):
        out.seconds[name] = out.seconds.get(name, 0.0) + seconds
    agreement = report.quantities.setdefault(FEASIBILITY, Agreement())
    agreement.compared += 1
    if (ours is None) != (theirs is None):
        agreement.worst = 1.0
        who, why = ("hwloop", our_refusal) if ours is None else (outside.name, their_refusal)
        agreement.cases[case.id] = f"{who} refuses: {why}"
        return
    agreement.equal += 1
    if ours is None or theirs is None:
        report.refused += 1
        return
    gap = abs(ours.energy_pj - theirs.energy_pj) / theirs.energy_pj
    out.energy_gap[group] = max(out.energy_gap[group], gap)
    sparse = any(level.sparse for level in case.architecture.levels)
    report.add(case.id, compare_costs(ours, theirs), SPARSE_SLACK if sparse else DENSE_SLACK)


def _attempt(run: Callable[[], LayerCost]) -> tuple[LayerCost | None, str]:
    try:
        return run(), ""
    except InfeasibleMappingError as error:
        return None, error.reason
