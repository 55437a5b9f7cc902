"""The numbers of a finished search, and what is computed from them. Pure: nothing is read or drawn here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwloop.backend.layer_runs import NetworkRun
from hwloop.errors import DataError, SpecError
from hwloop.pareto import hypervolume, knee, preferred
from hwloop.spec.plan import Plan, load_plan
from hwloop.spec.plan_row import plan_row

ACCURACY_LOSS = 0.003  # the paper's 0.3 points
_SEEN = 0.03


@dataclass(frozen=True)
class Member:
    """One compressed network.

    Attributes:
        plan: what is done to each layer, with the densities its weights and inputs really have.
        pruned: fraction of the network's weights that are gone.
        metrics: `accuracy` (validation), `energy_pj`, `cycles`, `edp`, `size_bits`, `macs`; costs after the final mapping.
        searched: the same as the search estimated them, from its short list of mappings.
        how: where its weights come from; empty where the plan alone makes them.
        test_accuracy: 0 to 1; None until the test set is read.
        sizes: of the stored network by coding (`normal`, `csr`, `coo`) [bits]; empty where nobody counted.
        run: how each layer runs on the target; None where that is not known here.
    """

    plan: Plan
    pruned: float
    metrics: Mapping[str, float]
    searched: Mapping[str, float]
    how: str = ""
    test_accuracy: float | None = None
    sizes: Mapping[str, float] = field(default_factory=dict)
    run: NetworkRun | None = field(default=None, repr=False, compare=False)

    @property
    def weight_bits(self) -> dict[str, int]:
        """Bits per weight by layer, without the later calls of the same module."""
        shares = ((name, share.weight_bits) for name, share in self.plan.layers if "#" not in name)
        return {name: bits for name, bits in shares if bits is not None}

    @property
    def mean_bits(self) -> float:
        """Mean of the layers' weight bits, each layer counted once."""
        return float(np.mean(list(self.weight_bits.values()) or [0]))

    @property
    def gap(self) -> float:
        """How much less energy the full mapping needs than the search thought, as a fraction; negative when more."""
        return 1 - self.metrics["energy_pj"] / self.searched["energy_pj"]


Metric = str | Callable[[Member], float]


@dataclass(frozen=True)
class Front:
    """The outcome of one search.

    Attributes:
        target: accelerator and dataflow.
        objectives: metric names, as searched.
        maximised: which of them are maximised.
        reference: the trained network, not compressed, on the same accelerator under the same dataflow.
        members: the Pareto front, by falling accuracy where that is an objective.
        cloud: metrics of everything that was evaluated.
        hypervolumes: after each step of the method, as a part of the box that all steps span.
        images: images that networks were run on, in evaluation and in training.
        plain_energy_pj: of the reference where no zero is used and no feature map stays on chip; None where that is the same.
        scored_on: what `accuracy` is measured on, in words.
        reported_on: what `test_accuracy` is measured on, in words; empty without a test set.
    """

    target: str
    objectives: tuple[str, ...]
    maximised: tuple[bool, ...]
    reference: Member
    members: tuple[Member, ...]
    cloud: tuple[Mapping[str, float], ...] = ()
    hypervolumes: tuple[float, ...] = ()
    images: int = 0
    plain_energy_pj: float | None = None
    scored_on: str = ""
    reported_on: str = ""

    def knee(self) -> Member | None:
        """The member where giving up a little of one objective no longer buys much of another; None without members."""
        return self.members[knee(self.minimised(self.members))] if self.members else None

    def preferred(self, weights: Sequence[float]) -> Member | None:
        """The member that suits weights of the objectives, in their order, best; None without members.

        The larger a weight, the nearer its objective comes to the best on the front; see `pareto.preferred`.

        Raises:
            ValueError: weights that do not fit.
        """
        return self.members[preferred(self.minimised(self.members), weights)] if self.members else None

    def best_within(self, loss: float = ACCURACY_LOSS, metric: Metric = "energy_pj") -> Member | None:
        """The member with the least `metric` whose validation accuracy is at most `loss` below the reference's.

        Chosen by validation accuracy, so that the test accuracy stays an honest estimate; None when there is none.
        """
        floor = self.reference.metrics["accuracy"] - loss - 1e-9
        close = [member for member in self.members if member.metrics["accuracy"] >= floor]
        return min(close, key=_reader(metric)) if close else None

    def best_by_test(self, loss: float = ACCURACY_LOSS, metric: Metric = "energy_pj") -> Member | None:
        """Like `best_within`, chosen by the test set itself: optimistic, but how published figures are usually counted."""
        wanted = self.reference.test_accuracy
        if wanted is None:
            return None
        close = [m for m in self.members if m.test_accuracy is not None and m.test_accuracy >= wanted - loss - 1e-9]
        return min(close, key=_reader(metric)) if close else None

    @property
    def seen_validation(self) -> bool:
        """Whether the reference scores so much better on the validation images that it was probably trained on them."""
        test = self.reference.test_accuracy
        return test is not None and self.reference.metrics["accuracy"] - test > _SEEN

    def factor(self, member: Member, metric: str = "energy_pj") -> float:
        """How many times less of `metric` a member needs than the reference."""
        return self.reference.metrics[metric] / member.metrics[metric]

    def minimised(self, members: Sequence[Member]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """`(n, n_obj)` objectives of members, with the sign of what is maximised turned."""
        signs = [-1.0 if maximise else 1.0 for maximise in self.maximised]
        return np.array([[s * m.metrics[o] for o, s in zip(self.objectives, signs, strict=True)] for m in members])

    def hypervolume(self) -> float:
        """Volume that the front dominates, in units of the box from the front's best corner to the reference. At most 1."""
        if not self.members or len(self.objectives) > 4:
            return 0.0
        points, ref = self.minimised(self.members), self.minimised([self.reference])[0]
        ideal = np.minimum(points.min(axis=0), ref)
        span = np.where(ref > ideal, ref - ideal, 1.0)
        return hypervolume((points - ideal) / span, np.ones(len(ref)) + 1e-12)


def _reader(metric: Metric) -> Callable[[Member], float]:
    return (lambda member: member.metrics[metric]) if isinstance(metric, str) else metric


def member_row(front: Front, member: Member) -> dict[str, Any]:
    """One line of `front.csv`; `read_plan_row` reads its plan back."""
    row: dict[str, Any] = {"target": front.target, "pruned": member.pruned}
    row |= {"accuracy": member.metrics["accuracy"], "test_accuracy": member.test_accuracy}
    row |= {name: member.metrics[name] for name in ("energy_pj", "cycles", "edp", "size_bits", "macs")}
    row |= {"energy_factor": front.factor(member), "latency_factor": front.factor(member, "cycles")}
    row |= {"size_factor": front.factor(member, "size_bits"), "searched_energy_pj": member.searched["energy_pj"]}
    return row | {"searched_cycles": member.searched["cycles"], "how": member.how} | plan_row(member.plan)


def front_document(front: Front) -> dict[str, Any]:
    """One entry of `front.json`; `read_front` reads it back, without the cloud."""
    best, by_test, bend = front.best_within(), front.best_by_test(), front.knee()
    return {
        "target": front.target,
        "objectives": list(front.objectives),
        "maximised": list(front.maximised),
        "reference": _member_document(front.reference),
        "members": [_member_document(member) for member in front.members],
        "knee": None if bend is None else front.members.index(bend),
        "best_within_0.3_points": None if best is None else front.members.index(best),
        "energy_factor_within_0.3_points": None if best is None else front.factor(best),
        "energy_factor_within_0.3_points_of_test": None if by_test is None else front.factor(by_test),
        "reference_has_seen_validation": front.seen_validation,
        "plain_reference_energy_pj": front.plain_energy_pj,
        "evaluated": len(front.cloud),
        "images": front.images,
        "scored_on": front.scored_on,
        "reported_on": front.reported_on,
        "hypervolumes": list(front.hypervolumes),
    }


def read_front(document: Mapping[str, Any]) -> Front:
    """The front in an entry of `front.json`.

    Raises:
        DataError: something is missing or of another kind.
    """
    try:
        return Front(
            str(document["target"]),
            tuple(document["objectives"]),
            tuple(document["maximised"]),
            _read_member(document["reference"]),
            tuple(_read_member(member) for member in document["members"]),
            hypervolumes=tuple(document["hypervolumes"]),
            images=int(document["images"]),
            plain_energy_pj=document.get("plain_reference_energy_pj"),
            scored_on=str(document.get("scored_on", "")),
            reported_on=str(document.get("reported_on", "")),
        )
    except (KeyError, TypeError, SpecError) as error:
        raise DataError(f"not an entry of a front.json: {error}") from error


def _member_document(member: Member) -> dict[str, Any]:
    return {
        "plan": member.plan.to_dict(),
        "pruned": member.pruned,
        "metrics": dict(member.metrics),
        "searched": dict(member.searched),
        "how": member.how,
        "test_accuracy": member.test_accuracy,
        "sizes": dict(member.sizes),
    }


def _read_member(document: Mapping[str, Any]) -> Member:
    return Member(**{**document, "plan": load_plan(document["plan"])})
