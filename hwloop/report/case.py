"""What was asked, and the answer: a network on a target, with everything that the head of a table must say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from textwrap import wrap
from typing import Any

from hwloop.backend.embedded import EMBEDDED
from hwloop.backend.network_cost import NetworkCost
from hwloop.backend.request import MapperSettings
from hwloop.backend.target import Target
from hwloop.energy import area_mm2
from hwloop.errors import EnergyTableError
from hwloop.mapper.objective import Objective
from hwloop.report.tables import count_text
from hwloop.spec.architecture import Architecture
from hwloop.spec.bits import operand_bits
from hwloop.spec.plan import Plan, make_plan
from hwloop.spec.problem import Problem
from hwloop.spec.pruning import check_density
from hwloop.spec.workload import Workload
from hwloop.units import BITS_PER_KIB, NS_PER_S, PJ_PER_J

WIDTH = 80  # columns of a terminal


@dataclass(frozen=True)
class Asked:
    """What is asked of a network, or a layer, on a target.

    Attributes:
        weight_bits: bits of a weight; None for the accelerator's width.
        activation_bits: bits of an activation; None for the accelerator's width.
        weight_density: fraction of weights that are not zero, spread at random.
        input_density: fraction of input activations that are not zero.
        energy: where energies come from, in a word.
        activations: whether feature maps may stay on chip between layers.
        objective, effort, seed: of the mapper.
        simulator: who costs mappings.

    Raises:
        SpecError: a density out of range.
    """

    weight_bits: int | None = None
    activation_bits: int | None = None
    weight_density: float = 1.0
    input_density: float = 1.0
    energy: str = "shipped"
    activations: str = "streamed"
    objective: Objective = "edp"
    effort: str = "normal"
    seed: int = 0
    simulator: str = EMBEDDED

    def __post_init__(self) -> None:
        for name in ("weight_density", "input_density"):
            check_density(getattr(self, name), name)

    @property
    def bits(self) -> dict[str, int]:
        """As `hwloop.simulate` takes them."""
        return operand_bits(self.weight_bits, self.activation_bits)

    @property
    def densities(self) -> dict[str, float]:
        """By data space, where it is not dense."""
        pairs = (("Weights", self.weight_density), ("Inputs", self.input_density))
        return {name: density for name, density in pairs if density != 1.0}

    @property
    def settings(self) -> MapperSettings:
        """Of the mapper."""
        return MapperSettings(self.objective, self.effort, self.seed)

    def plan(self, workload: Workload) -> Plan:
        """The same for every layer."""
        return make_plan(workload, self.weight_density, self.input_density, self.weight_bits, self.activation_bits)

    def bits_text(self, arch: Architecture) -> str:
        """Both widths in words."""
        if self.weight_bits == self.activation_bits:
            return f"weights and activations {_bits(self.weight_bits, arch)}"
        return f"weights {_bits(self.weight_bits, arch)}, activations {_bits(self.activation_bits, arch)}"

    def density_text(self) -> str:
        """Both densities in words."""
        if not self.densities:
            return "dense"
        return f"density {self.weight_density:g} of weights, {self.input_density:g} of inputs"

    def how_text(self) -> str:
        """Energies, feature maps and mapper in words."""
        objective = self.objective if isinstance(self.objective, str) else "an objective of one's own"
        mapper = f"mapped for {objective}, effort {self.effort}, seed {self.seed}"
        who = "" if self.simulator == EMBEDDED else f", simulator {self.simulator}"
        return f"energies: {self.energy}; feature maps {self.activations}; {mapper}{who}"


def _bits(bits: int | None, arch: Architecture) -> str:
    return f"{arch.storage[0].word_bits} bits (as built)" if bits is None else f"{bits} bits"


@dataclass(frozen=True)
class Case:
    """A network mapped on a target.

    Attributes:
        workload: the network.
        target: the accelerator under its dataflow.
        asked: bits, densities, mapper.
        cost: the answer.
        scaled: what was changed of the accelerator to bring it to an area; empty when nothing.
    """

    workload: Workload
    target: Target
    asked: Asked
    cost: NetworkCost
    scaled: str = ""

    @property
    def accelerator(self) -> str:
        """The accelerator's name."""
        return self.target.arch.name

    @property
    def dataflow(self) -> str:
        """The dataflow's name; see `dataflow_name`."""
        return dataflow_name(self.target)

    @cached_property
    def area_mm2(self) -> float | None:
        """Area of the accelerator's components [mm^2]; None where the energy table has none."""
        return area_of(self.target)

    @property
    def latency_s(self) -> float:
        """Time of one batch [s]."""
        return self.cost.cycles * self.target.arch.cycle_s

    @property
    def edp_js(self) -> float:
        """Energy times latency of one batch [J s]."""
        return self.cost.energy_pj / PJ_PER_J * self.latency_s

    def head(self) -> str:
        """What every table of this case begins with."""
        return head(self.workload, self.target, self.asked, self.scaled)


def head(subject: Workload | Problem, target: Target, asked: Asked, scaled: str = "", mapped: bool = True) -> str:
    """Network or layer, accelerator, dataflow, bits, densities, and how the numbers came about, in lines of 80 columns."""
    facts = f"dataflow {dataflow_name(target)}; {asked.bits_text(target.arch)}; {asked.density_text()}"
    accelerator = f"on {accelerator_text(target.arch, area_of(target))}" + (f"; {scaled}" if scaled else "")
    how = asked.how_text() if mapped else f"energies: {asked.energy}; the mapping as given"
    return folded([subject_text(subject), accelerator, facts, how])


def folded(lines: Sequence[str], width: int = WIDTH) -> str:
    """Lines that are no longer than a terminal is wide."""
    return "\n".join(part for line in lines for part in wrap(line, width, subsequent_indent="  ", break_on_hyphens=False))


def subject_text(subject: Workload | Problem) -> str:
    """`resnet18, images of 3 x 224 x 224, batch 1: 21 layers, 1.81 G MACs`; a layer with its sizes."""
    if isinstance(subject, Problem):
        sizes = " ".join(f"{name}{size}" for name, size in subject.sizes.items() if size > 1)
        return f"layer {subject.name or subject.shape.name}: {sizes}; {count_text(subject.computes)} MACs"
    batch, shape = input_shape(subject)
    what = f"images of {' x '.join(map(str, shape))}" if len(shape) == 3 else f"{' x '.join(map(str, shape))} values a row"
    rows = f"batch {batch}" if len(shape) == 3 else f"{batch} rows"
    return f"{subject.name}, {what}, {rows}: {len(subject.layers)} layers, {count_text(subject.computes)} MACs"


def input_shape(workload: Workload) -> tuple[int, tuple[int, ...]]:
    """(batch, shape) of what the first layer reads: channels, height and width of images, else values a row."""
    first = workload.layers[0]
    sizes, steps = first.problem.sizes, first.problem.coefficient_values
    size = first.input_size
    if not size and any(sizes.get(name, 1) > 1 for name in "PQRS"):  # nobody says: what the layer reads, its padding included
        along = (("P", "R", "Wstride", "Wdilation"), ("Q", "S", "Hstride", "Hdilation"))
        size = tuple(
            (sizes.get(p, 1) - 1) * steps.get(stride, 1) + (sizes.get(r, 1) - 1) * steps.get(dilation, 1) + 1
            for p, r, stride, dilation in along
        )
    return sizes.get("N", 1), (first.input_channels, *size)


def accelerator_text(arch: Architecture, area: float | None) -> str:
    """`flexible: 256 MACs (16 x 16), 45 nm, 1000 MHz, 258 KiB on chip, 2.35 mm^2`."""
    compute = arch.compute
    node = compute.values.get("technology") or dict(arch.attributes).get("technology")
    kib = on_chip_kib(arch)
    facts: list[Any] = [
        f"{compute.instances} MACs ({compute.mesh_x} x {compute.mesh_y})", node, f"{1e3 / (arch.cycle_s * NS_PER_S):.4g} MHz",
        f"{kib:.4g} KiB on chip", "area unknown" if area is None else f"{area:.3g} mm^2",
    ]  # fmt: skip
    return f"{arch.name}: {', '.join(str(fact) for fact in facts if fact)}"


def on_chip_kib(arch: Architecture) -> float:
    """All bounded storage [KiB]."""
    return sum(level.entries * level.word_bits * level.instances for level in arch.storage if level.entries) / BITS_PER_KIB


def dataflow_name(target: Target) -> str:
    """The dataflow's name; `its own` where only the accelerator's constraints hold, `free` where it has none on loops."""
    if target.constraints is None:
        return "its own" if target.arch.constraints.loops else "free"
    return target.constraints.name or "dataflow"


def area_of(target: Target) -> float | None:
    """Area of a target's components [mm^2]; None where its energy table has none."""
    try:
        return area_mm2(target.arch, target.table())
    except EnergyTableError:
        return None


def own_macs(cost: NetworkCost) -> int:
    """The layers' own multiply-accumulates, without those of incomplete passes."""
    return sum(layer.computes - layer.mapped.cost.padded_computes for layer in cost.layers)


def units_used(cost: NetworkCost) -> float:
    """Part of the compute units' time that they compute the layers' own MACs, over all of the network's cycles, 0-1."""
    return sum(layer.mapped.cost.useful_utilization * layer.cycles for layer in cost.layers) / max(cost.cycles, 1)
