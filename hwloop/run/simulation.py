"""One mapping of one layer on an accelerator, as `timeloop-model` evaluates it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwloop.backend.target import ArchitectureLike, DataflowLike, Target, make_targets
from hwloop.mapper.describe import loop_nest
from hwloop.mapper.result import Ceiling, Padding, find_ceiling, find_padding
from hwloop.report.breakdown import Row
from hwloop.report.case import Asked, folded, head
from hwloop.report.costs import level_text
from hwloop.report.frames import frame
from hwloop.report.notes import notes
from hwloop.report.opened import opened_rows
from hwloop.run.networks import with_densities
from hwloop.simulator import LayerCost
from hwloop.simulator.ledger import Ledger, open_cost
from hwloop.spec.expand import expand_mapping
from hwloop.spec.mapping import Mapping, load_mapping
from hwloop.spec.problem import Problem, load_problem

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Simulated:
    """The cost of one mapping. Prints as the loop nest and a table by level and data space.

    Attributes:
        problem: the layer, with its densities.
        target: the accelerator with its energies.
        asked: bits and densities.
        mapping: the loop nest, every level and dimension said.
        ledger: the cost, and every product in it.
    """

    problem: Problem
    target: Target
    asked: Asked
    mapping: Mapping
    ledger: Ledger

    @property
    def cost(self) -> LayerCost:
        """As `hwloop.simulate` gives it."""
        return self.ledger.cost

    @property
    def ceiling(self) -> Ceiling:
        """What sets the cycles."""
        return find_ceiling(self.cost, self.target.arch)

    @property
    def padding(self) -> tuple[Padding, ...]:
        """Dimensions whose factors do not divide them."""
        return find_padding(self.mapping, self.problem)

    def rows(self, _kind: str = "") -> list[Row]:
        """A plain row an entry: accesses times an entry of the energy table."""
        return opened_rows([(self.problem.name, self.ledger.entries)])

    def frame(self) -> pandas.DataFrame:
        """`rows` as a pandas frame."""
        return frame(self.rows())

    def document(self) -> dict[str, Any]:
        """Everything as plain data."""
        asked = head(self.problem, self.target, self.asked, mapped=False)
        return {"head": asked, "layer": self.problem.name, "cost": self.cost.to_dict(), "ceiling": vars(self.ceiling)}

    def text(self) -> str:
        """Head, loop nest, what binds, and the table."""
        cost, arch = self.cost, self.target.arch
        lines = [
            f"energy {cost.energy_pj:.6g} pJ, {cost.cycles} cycles, utilization {cost.utilization:.1%}, EDP {cost.edp:.6g} pJ "
            "cycles",
            f"bound by {self.ceiling}",
            *(
                f"{p.dimension}={p.size} is covered by factors of {p.covered}: the last passes are incomplete"
                for p in self.padding
            ),
        ]
        parts = [
            head(self.problem, self.target, self.asked, mapped=False), loop_nest(self.mapping, self.problem, arch, cost),
            folded(lines), level_text(cost, arch), folded(notes([self.target], [self.asked])),
        ]  # fmt: skip
        return "\n\n".join(part for part in parts if part)

    def __str__(self) -> str:
        return self.text()


def simulate_layer(
    problem: Problem | Any,
    arch: ArchitectureLike | Target,
    mapping: Mapping | Any,
    dataflow: DataflowLike = None,
    *,
    asked: Asked | None = None,
    energy: Any = "shipped",
) -> Simulated:
    """What one mapping of one layer costs, with energies for its bits.

    Args:
        problem: a `Problem`, or what `load_problem` takes.
        arch: an accelerator by name, file or object, or a whole `Target`.
        mapping: a `Mapping`, or what `load_mapping` takes.
        dataflow: only names the target; a mapping is not held to it.
        asked: bits and densities; the accelerator's own and dense when None.
        energy: where energies come from; see `make_targets`.

    Raises:
        InfeasibleMappingError: the accelerator cannot run the mapping; the reason names the level, the need and the room.
        SpecError: a spec that cannot be read, or a name in the mapping that is not there.
        EnergyTableError: no source has a figure for a component.
    """
    asked = asked or Asked()
    target = arch if isinstance(arch, Target) else make_targets(arch, dataflow, energy)[0]
    layer = with_densities(load_problem(problem), asked.densities)
    loops = load_mapping(mapping)
    ledger = open_cost(layer, target.arch, loops, target.table(asked.bits), asked.bits or None)
    return Simulated(layer, target, asked, expand_mapping(loops, target.arch, layer), ledger)
