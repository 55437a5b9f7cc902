"""Holds hwloop against the real Timeloop, live: accelerators x layers x densities x bits, on given mappings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from time import perf_counter
from typing import Any

from hwloop.backend.embedded import Embedded
from hwloop.backend.protocol import Backend
from hwloop.backend.request import MapRequest
from hwloop.backend.target import Target, make_targets
from hwloop.errors import InfeasibleMappingError, SimulatorError, SpecError
from hwloop.mapper.mapper import map_problem
from hwloop.simulator import LayerCost
from hwloop.spec.architecture import Architecture
from hwloop.spec.bits import MAX_BITS, Bits, operand_bits
from hwloop.spec.density import unstructured
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.problem import Problem
from hwloop.validate.agreement import DENSE_SLACK, FEASIBILITY, SPARSE_SLACK, Agreement, Report
from hwloop.validate.causes import Explainer, answered_for
from hwloop.validate.compare import compare_costs
from hwloop.validate.layers import distinct, network_layers

ARCHITECTURES = (
    "eyeriss_168", "eyeriss_168_skipping", "tpu_like", "tpu_like_compressed", "shidiannao_like", "shidiannao_like_skipping",
)  # fmt: skip


@dataclass(frozen=True)
class LiveCase:
    """One thing to ask both simulators.

    Attributes:
        id: accelerator, layer, density and bits, for people.
        request: the layer with its densities and bits, the accelerator and its energies.
        mapping: what to cost.
    """

    id: str
    request: MapRequest
    mapping: LoopMapping


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

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        groups = {name: group.to_dict() | {"energy_gap": self.energy_gap[name]} for name, group in self.groups.items()}
        return {"agrees": self.agrees, "groups": groups, "no_answer": self.unanswered, "seconds": self.seconds}


@dataclass(frozen=True)
class LiveSettings:
    """What `verify_live` asks both simulators: accelerators x layers x densities x bits.

    Attributes:
        archs: names or files of accelerators.
        networks: whose layers, of `hwloop.validate.layers`.
        densities: of weights and inputs; 1 is dense.
        bits: of weights and inputs.
        effort: of the mapper that finds the mappings.
        most: distinct layers taken of a network, None for all.
        output_bits: of finished outputs where they wait for their reader, at the density of the layer's operands where a format
            holds them there; none for outputs of the accelerator's own width.
        resident: whether every mapping is also asked with inputs and outputs that stay within the outermost level.

    Raises:
        SpecError: a network that is not there, or a number out of range.
    """

    archs: tuple[str, ...] = ARCHITECTURES
    networks: tuple[str, ...] = ("vgg16", "mobilenet")
    densities: tuple[float, ...] = (1.0, 0.5, 0.1)
    bits: tuple[int, ...] = (16, 8, 4)
    effort: str = "quick"
    most: int | None = None
    output_bits: tuple[int, ...] = ()
    resident: bool = False

    def __post_init__(self) -> None:
        given = [("densities", self.densities, 1.0), ("bits", self.bits, MAX_BITS), ("output_bits", self.output_bits, MAX_BITS)]
        for what, values, most in given:
            if not (values or what == "output_bits") or not all(0 < value <= most for value in values):
                raise SpecError("<arguments>", what, f"numbers above 0 up to {most:g}, with commas between", list(values))
        if self.most is not None and self.most < 1:
            raise SpecError("<arguments>", "most", "1 layer or more", self.most)
        assert self.layers

    @cached_property
    def layers(self) -> tuple[Problem, ...]:
        """The layers of all networks."""
        return tuple(layer for name in self.networks for layer in distinct(network_layers(name))[: self.most])

    @property
    def steps(self) -> int:
        """How often `verify_live` calls `on_step`: once a mapping and once a case."""
        asked = (2 if self.resident else 1) * len(self.densities)
        return len(self.archs) * len(self.layers) * len(self.bits) * max(len(self.output_bits), 1) * (1 + asked)


def verify_live(outside: Backend, settings: LiveSettings, on_step: Callable[[str], None] | None = None) -> LiveReport:
    """Finds mappings with hwloop's mapper and holds hwloop against another simulator on them, group by accelerator.

    Args:
        outside: the other one.
        settings: what is asked.
        on_step: called with a word on it after each mapping and each case.

    Raises:
        InfeasibleMappingError: a layer fits no mapping.
        SpecError: an accelerator that is not there.
    """
    targets = make_targets(list(settings.archs))
    groups: dict[str, list[LiveCase]] = {}
    for target in targets:

        def find(problem: Problem, widths: Bits, target: Target = target) -> LoopMapping:
            best = map_problem(problem, target.arch, target.table(widths), bits=widths, effort=settings.effort)
            if on_step is not None:
                on_step(f"map {problem.name} on {target.name}")
            return best.mapping

        groups[target.name] = make_cases(
            target, settings.layers, settings.densities, settings.bits, find, settings.output_bits, settings.resident
        )
    return run_against(outside, groups, on_step)


def make_cases(
    target: Target,
    layers: Sequence[Problem],
    densities: Sequence[float],
    bits: Sequence[int],
    find_mapping: Callable[[Problem, Bits], LoopMapping],
    output_bits: Sequence[int] = (),
    resident: bool = False,
) -> list[LiveCase]:
    """Every layer at every density and width; weights and inputs share both.

    Args:
        target: the accelerator and its energies.
        layers: problems.
        densities: of weights and inputs; 1 is dense.
        bits: of weights and inputs.
        find_mapping: a mapping for a problem and bits; called once a layer and width.
        output_bits: of finished outputs where they wait; see `LiveSettings`.
        resident: whether every mapping is also asked with inputs and outputs on chip.

    Raises:
        InfeasibleMappingError: from `find_mapping`.
    """
    cases = []
    for layer in layers:
        for width, output in product(bits, output_bits or (None,)):
            asked = f"bits {width}" if output is None else f"bits {width} outputs {output}"
            mapping = find_mapping(layer, _widths(width, output, target.arch.storage[0].name))
            mappings = {"": mapping}
            if resident:
                mappings[" on chip"] = stay_on_chip(mapping, target.arch, ("Inputs", "Outputs"))
            for density, (where, own) in product(densities, mappings.items()):
                level = outermost(own, target.arch, "Outputs")
                widths = _widths(width, output, level)
                named: dict[str, Any] = {"Weights": density, "Inputs": density} if density < 1 else {}
                if named and output is not None:
                    named["Outputs"] = replace(unstructured(density, layer.tensor_size("Outputs")), level=level)
                problem = replace(layer.with_densities(named), name=layer.name)
                request = MapRequest(problem, target.arch, target.table(widths), target.constraints, widths)
                cases.append(LiveCase(f"{target.name} {layer.name} density {density:g} {asked}{where}", request, own))
    return cases


def stay_on_chip(mapping: LoopMapping, arch: Architecture, spaces: Sequence[str]) -> LoopMapping:
    """The mapping with data that the outermost level does not keep, where a level within does.

    Args:
        mapping: says for every level what it keeps.
        arch: the accelerator.
        spaces: the data.
    """
    outer = arch.storage[0].name
    gone = {s for s in spaces if any(s in entry.keep for entry in mapping.bypass if entry.target != outer)}
    entries = []
    for entry in mapping.bypass:
        if entry.target == outer:
            own = [s for s in entry.keep if s in gone]
            entry = replace(entry, keep=tuple(s for s in entry.keep if s not in gone), bypass=(*entry.bypass, *own))
        entries.append(entry)
    return replace(mapping, bypass=tuple(entries))


def outermost(mapping: LoopMapping, arch: Architecture, space: str) -> str:
    """The outermost level that keeps a data space under a mapping that says for every level what it keeps."""
    keeping = {entry.target for entry in mapping.bypass if space in entry.keep}
    return next(level.name for level in arch.storage if level.name in keeping)


def _widths(width: int, output: int | None, level: str) -> dict[str, int | dict[str, int]]:
    """Bits of operands everywhere, and of finished outputs at a level."""
    return {**operand_bits(width, width), **({} if output is None else {"Outputs": {level: output}})}


def run_against(
    outside: Backend, groups: Mapping[str, Sequence[LiveCase]], on_case: Callable[[str], None] | None = None
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


def _ask_both(outside: Backend, case: LiveCase, group: str, report: Report, out: LiveReport) -> None:
    report.cases += 1
    began = perf_counter()
    ours, our_refusal = _attempt(lambda: Embedded().simulate(case.request, case.mapping))
    between = perf_counter()
    try:
        theirs, their_refusal = _attempt(lambda: outside.simulate(case.request, case.mapping))
    except SimulatorError as error:
        out.unanswered[case.id] = f"{_crash(error)}; {answered_for(ours, our_refusal)}"
        return
    ended = perf_counter()
    for name, seconds in (("embedded", between - began), (outside.name, ended - between)):
        out.seconds[name] = out.seconds.get(name, 0.0) + seconds
    agreement = report.quantities.setdefault(FEASIBILITY, Agreement())
    agreement.compared += 1
    asked = case.request
    explainer = Explainer(asked.problem, asked.arch, case.mapping, asked.ert, asked.bits)
    if (ours is None) != (theirs is None):
        who, why = ("hwloop", our_refusal) if ours is None else (outside.name, their_refusal)
        report.refusal(case.id, f"{who} refuses: {why}", explainer.refusal(ours is not None))
        return
    agreement.equal += 1
    if ours is None or theirs is None:
        report.refused += 1
        return
    gap = abs(ours.energy_pj - theirs.energy_pj) / theirs.energy_pj
    out.energy_gap[group] = max(out.energy_gap[group], gap)
    sparse = any(level.sparse for level in case.request.arch.levels)
    pairs, real = list(compare_costs(ours, theirs)), theirs
    causes = explainer.causes(pairs, lambda other: compare_costs(other, real))
    report.add(case.id, pairs, SPARSE_SLACK if sparse else DENSE_SLACK, causes)


def _crash(error: SimulatorError) -> str:
    """What happened, and the last words of the program where it had any."""
    first, *rest = str(error).splitlines()
    return f"{first}: {rest[-1].strip()}" if rest else first


def _attempt(run: Callable[[], LayerCost]) -> tuple[LayerCost | None, str]:
    try:
        return run(), ""
    except InfeasibleMappingError as error:
        return None, error.reason
