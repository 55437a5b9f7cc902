"""The study: everything a method may ask while it searches. It evaluates, remembers, counts, and stops at the budget."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from hwloop.backend.network_cost import NetworkCost
from hwloop.errors import DataError, HwloopError
from hwloop.files import write_file
from hwloop.search.json_lines import KEPT, JsonLines
from hwloop.search.log import EvaluationLog
from hwloop.search.objectives import AT_MOST, BOUNDED, Budget, Objective, to_f, to_g
from hwloop.search.racing import Hopeless, may_race
from hwloop.search.records import LayerRecord, Record, is_exact
from hwloop.search.seams import BudgetSpent, Floats, Hardware, LayerFeatures, ManyScorer, Scorer, SearchBudget, Step
from hwloop.spec.plan import Plan

DIVERGENCES = "divergences.jsonl"
OnRecord = Callable[[Record, bool], None]
OnStep = Callable[[Step], None]
OnDivergence = Callable[[int], None]
_Divergence = tuple[str, str, int]  # plan, reference, images


class Study:
    """One search: a network, a target, objectives.

    Args:
        scorer: the network.
        hardware: the target.
        reference: cost of the network that is not compressed.
        objectives: what is minimised or maximised.
        budgets: what must hold.
        limit: how much may be asked.
        seed: of everything that the method draws.
        log: every evaluation, kept as it happens; what it has is answered from it.
        folder: where a method may keep files of its own (`keep` is the usual way); None keeps nothing.
        race: whether methods may ask for candidates that are dominated to be left at a bound, see `evaluate`.
    """

    def __init__(
        self,
        scorer: Scorer,
        hardware: Hardware,
        reference: NetworkCost,
        objectives: Sequence[Objective],
        budgets: Sequence[Budget] = (),
        limit: SearchBudget | None = None,
        seed: int = 0,
        log: EvaluationLog | None = None,
        folder: Path | None = None,
        race: bool = True,
    ) -> None:
        self.workload, self.reference, self.seed, self.folder = scorer.workload, reference, seed, folder
        self.objectives, self.budgets, self.limit = tuple(objectives), tuple(budgets), limit or SearchBudget()
        self.images_used = 0
        self.steps: list[Step] = []
        self._scorer, self._hardware = scorer, hardware
        self._race = race and may_race(self.objectives, self.budgets)
        self._log = EvaluationLog() if log is None else log
        self._asked: dict[tuple[str, str], Record] = {}
        self._makers: dict[tuple[str, str], Callable[[], Any]] = {}
        self._lines = None if folder is None else JsonLines(folder / DIVERGENCES)
        self._diverged: dict[_Divergence, float] = {}
        self._counted: set[_Divergence] = set()  # divergences whose images count already
        self._on_record: OnRecord | None = None
        self._on_step: OnStep | None = None
        self._on_divergence: OnDivergence | None = None

    def watch(
        self,
        on_record: OnRecord | None = None,
        on_step: OnStep | None = None,
        on_divergence: OnDivergence | None = None,
    ) -> None:
        """Has these called from now on.

        Args:
            on_record: with each candidate asked for, and whether it came from the log.
            on_step: after each step.
            on_divergence: after each divergence that was measured, with how many there are by then.
        """
        self._on_record, self._on_step, self._on_divergence = on_record, on_step, on_divergence

    @cached_property
    def layers(self) -> tuple[LayerFeatures, ...]:
        """Every layer in execution order, with what it costs when nothing is changed."""
        costs = {share.name: share for share in self.reference.layers}
        free = set(self._scorer.layers)
        return tuple(
            LayerFeatures(layer, layer.name in free, costs[layer.name].energy_pj, costs[layer.name].cycles)
            for layer in self.workload.layers
        )

    @property
    def records(self) -> list[Record]:
        """What this search asked for, in the order it asked, each once."""
        return list(self._asked.values())

    @property
    def evaluations_left(self) -> int | None:
        """How many candidates may still be asked for; None without a bound. Candidates asked for before are free."""
        return None if self.limit.evaluations is None else max(self.limit.evaluations - len(self._asked), 0)

    @property
    def images_left(self) -> int | None:
        """How many images networks may still be run on; None without a bound."""
        return None if self.limit.images is None else max(self.limit.images - self.images_used, 0)

    def evaluate(self, plans: Sequence[Plan], training: Any = None, race: bool = False) -> list[Record]:
        """Accuracy, size and cost of each plan; nothing is evaluated twice.

        Args:
            plans: candidates; the more at once, the quicker their costs.
            training: train each network further before its accuracy is taken: a dataclass with `epochs`.
            race: plans that are dominated by others that were asked for, whatever their accuracy is, may be left at a bound of
                it (`accuracy_at_most`). Asked for again without `race` they are known exactly, which counts as nothing new.

        Raises:
            BudgetSpent: after those that the budget allowed.
        """
        how = "" if training is None else training_name(training)
        fresh = list({(plan.key, how): plan for plan in plans if (plan.key, how) not in self._asked}.values())
        price = self._scorer.images + self._training_images(training)
        allowed = fresh[: self._affordable(price, len(fresh))]

        def network(plan: Plan) -> Any:
            return None if training is None else self._scorer.materialise(plan, training)

        again = {plan.key: plan for plan in plans if (plan.key, how) in self._asked and not self._answered(plan, how, race)}
        unknown = [plan for plan in (*allowed, *again.values()) if not self._answered(plan, how, race)]
        costs = self._costs(unknown)
        scores = self._scores(unknown, costs, race) if training is None else {}
        for plan in (*again.values(), *allowed):
            if training is not None:
                self._makers[plan.key, how] = partial(network, plan)
            self._ask(plan, how, price, costs, network, race, scores)
        if len(allowed) < len(fresh):
            raise BudgetSpent(self._spent_text())
        return [self._asked[plan.key, how] for plan in plans]

    def costs(self, plans: Sequence[Plan]) -> list[Record]:
        """What plans cost, in sum and layer by layer, without their accuracy: for tables of costs per layer and choice.

        It takes no images, so that it is free and not logged.
        """
        found = self._costs(plans)
        return [self._cost_record(plan, found[plan.key]) for plan in plans]

    def layer_costs(self, plans: Sequence[Plan], inputs: Plan) -> list[Record]:
        """What plans cost on the target, for tables of costs per layer and choice; no image is looked at, no weights are made.

        Args:
            plans: candidates.
            inputs: densities of activations, and whatever a plan does not say of weights and bits, are those of this plan.
        """
        known = self._scorer.complete(inputs)
        costs = self._hardware.costs([_over(plan, known) for plan in plans])
        return [
            Record(plan, {}) if cost is None else Record(plan, hardware_metrics(cost), _layer_records(cost))
            for plan, cost in zip(plans, costs, strict=True)
        ]

    def sizes(self, plan: Plan) -> dict[str, float]:
        """`size_bits` and `macs` of a plan."""
        return {"size_bits": float(self._scorer.size_bits(plan)), "macs": float(self._scorer.macs(plan))}

    def divergences(self, plans: Sequence[Plan], reference: Plan, images: int) -> list[float]:
        """How far each plan's outputs are from the reference's, on `images` training images; kept in the method's folder.

        The images count, of each plan once; the reference's do not.

        Raises:
            BudgetSpent: they would go beyond the budget; nothing is counted.
            DataError: the file is damaged, or the disk refuses.
        """
        if self._lines is not None and not self._diverged:
            self._diverged = dict(self._lines.read(lambda entry: (_divergence(entry[:3]), float(entry[3]))))
        asked = {(plan.key, reference.key, images): plan for plan in plans}
        self.spend(images * len(asked.keys() - self._counted))
        self._counted |= asked.keys()
        for key, plan in asked.items():
            if key not in self._diverged:
                self._diverged[key] = self._scorer.divergence(plan, reference, images)
                if self._lines is not None:
                    self._lines.append([*key, self._diverged[key]])
                if self._on_divergence is not None:
                    self._on_divergence(len(self._diverged))
        if self._lines is not None:
            self._lines.close()
        return [self._diverged[plan.key, reference.key, images] for plan in plans]

    def score(self, plan: Plan, make: Callable[[], Any], how: str) -> Record:
        """Accuracy and cost of a network that the method made itself for `plan` (trained by it, distilled, ...).

        Args:
            plan: the network's shapes, densities and bits.
            make: gives the network. It is not called when the log knows the answer, and called again for the test set, so it
                should take it from where the method keeps it.
            how: what tells it from other networks of the same plan; a resumed run gives the same name again.

        Raises:
            BudgetSpent: nothing was evaluated.
        """
        if not how:
            raise ValueError("a network that a method made needs a name")
        key = (plan.key, how)
        self._makers[key] = make
        if key not in self._asked:
            if not self._affordable(self._scorer.images, 1):
                raise BudgetSpent(self._spent_text())
            costs = self._costs([] if key in self._log else [plan])
            self._ask(plan, how, self._scorer.images, costs, lambda _plan: make())
        return self._asked[key]

    def materialise(self, plan: Plan, training: Any = None) -> Any:
        """The network of a plan, trained further when `training` is given; its images count.

        Raises:
            BudgetSpent: the training would go beyond the budget.
        """
        self.spend(self._training_images(training))
        return self._scorer.materialise(plan, training)

    def spend(self, images: int) -> None:
        """Counts images that the method runs networks on itself.

        Raises:
            BudgetSpent: they would go beyond the budget; nothing is counted.
        """
        if images and self.images_left is not None and images > self.images_left:
            raise BudgetSpent(self._spent_text())
        self.images_used += images

    def network(self, record: Record) -> Any:
        """The network of a record, None where the plan alone makes it.

        Raises:
            HwloopError: a method made it in an earlier start of this run and not again.
        """
        if not record.how:
            return None
        if record.key not in self._makers:
            raise HwloopError(
                f"the network {record.how!r} was made in an earlier start of this run; its method must make it again"
            )
        return self._makers[record.key]()

    def to_f(self, records: Sequence[Record]) -> Floats:
        """`(n, n_obj)` objectives of records, minimised."""
        return to_f([record.metrics for record in records], self.objectives)

    def to_g(self, records: Sequence[Record]) -> Floats:
        """`(n, 1 + n_budgets)` violations of records, feasible where all are at most 0."""
        return to_g([record.metrics for record in records], self.budgets)

    def step(self, held: Sequence[Record], steps: int = 0) -> None:
        """Reports that a step (a generation, an episode) is done.

        Args:
            held: candidates that the method holds now; their hypervolume is kept.
            steps: how many there will be, 0 where nobody knows.
        """
        self.steps.append(Step(len(self.steps) + 1, steps, self.to_f(held), self.to_g(held)))
        if self._on_step is not None:
            self._on_step(self.steps[-1])

    def keep(self, state: bytes) -> None:
        """Keeps what the method needs to go on from here (an agent's weights, its replay), in place of what was kept before.

        Raises:
            DataError: the disk refuses.
        """
        if self.folder is None:
            return
        steps = [[s.steps, s.F.tolist(), s.G.tolist()] for s in self.steps]
        asked = [list(key) for key in self._asked]
        counted = sorted(list(key) for key in self._counted)
        header = {"asked": asked, "diverged": counted, "images_used": self.images_used, "steps": steps}
        write_file(self.folder / "state", json.dumps(header).encode() + b"\n" + state, KEPT)

    def kept(self) -> bytes | None:
        """What was kept before this run was stopped, None in a new one. What had been asked for until then counts as asked.

        Raises:
            DataError: the file is damaged, or the log lacks what was asked.
        """
        path = None if self.folder is None else self.folder / "state"
        if path is None or not path.exists():
            return None
        head, _, state = path.read_bytes().partition(b"\n")
        try:
            header = json.loads(head)
            asked = [self._log[key, how] for key, how in header["asked"]]
            self.images_used = int(header["images_used"])
            self._counted = {_divergence(entry) for entry in header["diverged"]}
            self.steps = [
                Step(
                    i,
                    n,
                    np.array(F, float).reshape(-1, len(self.objectives)),
                    np.array(G, float).reshape(-1, 1 + len(self.budgets)),
                )
                for i, (n, F, G) in enumerate(header["steps"], 1)
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} does not fit the evaluations beside it ({error}); delete it to start the method again"
            ) from error
        for record in asked:
            self._asked[record.key] = record
            if self._on_record is not None:
                self._on_record(record, True)
        return state

    def _costs(self, plans: Sequence[Plan]) -> dict[str, NetworkCost | None]:
        """By plan, all at once."""
        if not plans:
            return {}
        if isinstance(self._scorer, ManyScorer):
            self._scorer.prepare(plans)
        found = self._hardware.costs([self._scorer.complete(plan) for plan in plans])
        return {plan.key: cost for plan, cost in zip(plans, found, strict=True)}

    def _ask(
        self,
        plan: Plan,
        how: str,
        price: int,
        costs: dict[str, NetworkCost | None],
        network: Callable[[Plan], Any],
        race: bool = False,
        scores: Mapping[str, tuple[float, bool]] | None = None,
    ) -> None:
        key = (plan.key, how)
        known, before = self._answered(plan, how, race), key in self._asked
        if not known:
            score = (scores or {}).get(plan.key)
            self._log.append(self._record(plan, how, costs[plan.key], network(plan), score))
        self._asked[key] = self._log[key]
        if not before:
            self.images_used += price
            if self._on_record is not None:
                self._on_record(self._log[key], known)

    def _answered(self, plan: Plan, how: str, race: bool) -> bool:
        """Whether the log knows a plan as well as it is asked for."""
        key = (plan.key, how)
        return key in self._log and (race or is_exact(self._log[key].metrics))

    def _scores(self, plans: Sequence[Plan], costs: dict[str, NetworkCost | None], race: bool) -> dict[str, tuple[float, bool]]:
        """By plan its accuracy and whether it is exact, where many can be asked for at once."""
        if not plans or not isinstance(self._scorer, ManyScorer):
            return {}
        hopeless = None
        if race and self._race:
            candidates = [self._cost_record(plan, costs[plan.key]).metrics for plan in plans]
            known = [record.metrics for record in self._asked.values()]
            hopeless = Hopeless(candidates, known, self.objectives, self.budgets)
        found = self._scorer.accuracies(plans, hopeless)
        return {plan.key: score for plan, score in zip(plans, found, strict=True)}

    def _record(
        self, plan: Plan, how: str, cost: NetworkCost | None, network: Any, score: tuple[float, bool] | None = None
    ) -> Record:
        """Every number a candidate has."""
        value, exact = (self._scorer.accuracy(plan, network), True) if score is None else score
        accuracy = {BOUNDED if exact else AT_MOST: float(value)}
        costs = self._cost_record(plan, cost)
        return Record(plan, accuracy | dict(costs.metrics), costs.layers, how)

    def _cost_record(self, plan: Plan, cost: NetworkCost | None) -> Record:
        """Every number but accuracy; without those of the hardware where no mapping fits."""
        metrics = self.sizes(plan)
        return Record(plan, metrics) if cost is None else Record(plan, metrics | hardware_metrics(cost), _layer_records(cost))

    def _training_images(self, training: Any) -> int:
        return 0 if training is None else int(training.epochs) * self._scorer.train_images

    def _affordable(self, price: int, wanted: int) -> int:
        """How many of `wanted` candidates at `price` images each the budget allows."""
        if self.evaluations_left is not None:
            wanted = min(wanted, self.evaluations_left)
        if self.images_left is not None and price:
            wanted = min(wanted, self.images_left // price)
        return wanted

    def _spent_text(self) -> str:
        bounds = [f"{self.limit.evaluations} evaluations"] if self.limit.evaluations is not None else []
        bounds += [f"{self.limit.images} images"] if self.limit.images is not None else []
        return f"the search's budget of {' and '.join(bounds)} is used up"


def _divergence(entry: Sequence[Any]) -> _Divergence:
    plan, reference, images = entry
    return str(plan), str(reference), int(images)


def _layer_records(cost: NetworkCost) -> tuple[LayerRecord, ...]:
    return tuple(LayerRecord(share.name, float(share.energy_pj), int(share.cycles)) for share in cost.layers)


def _over(plan: Plan, known: Plan) -> Plan:
    """What `plan` says, on top of `known`."""
    layers = []
    for name, below in known.layers:
        share = plan.of(name)
        if not share.removed:
            share = replace(
                share,
                weight_density=below.weight_density if share.weight_density == 1.0 else share.weight_density,
                input_density=below.input_density,
                weight_bits=below.weight_bits if share.weight_bits is None else share.weight_bits,
                activation_bits=below.activation_bits if share.activation_bits is None else share.activation_bits,
            )
        layers.append((name, share))
    return Plan(tuple(layers), plan.base, plan.accelerator)


def hardware_metrics(cost: NetworkCost) -> dict[str, float]:
    """Energy, cycles and their product, and the area where the accelerator is searched, too."""
    area = {} if cost.area_um2 is None else {"area_um2": float(cost.area_um2)}
    return {"energy_pj": float(cost.energy_pj), "cycles": float(cost.cycles), "edp": float(cost.edp), **area}


def training_name(training: Any) -> str:
    """What tells networks of one plan and different training apart."""
    text = json.dumps({"kind": type(training).__name__, **asdict(training)}, sort_keys=True, default=str)
    return f"training {hashlib.sha256(text.encode()).hexdigest()[:12]}"
