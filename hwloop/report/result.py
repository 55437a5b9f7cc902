"""The numbers of a finished search, and what is computed from them. Pure: nothing is read or drawn here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop.pareto import hypervolume, knee

ACCURACY_LOSS = 0.003  # the paper's 0.3 points
_SEEN = 0.03


@dataclass(frozen=True)
class Member:
    """One compressed network.

    Attributes:
        p: pruning amount: fraction of weights removed in each layer.
        weight_bits: bits per weight by layer.
        activation_bits: bits per input activation by layer; empty where activations are not quantised.
        metrics: `accuracy` (validation), `energy_pj`, `cycles`, `edp`, `size_bits`, `macs`, with every layer mapped in full.
        searched: the same as the search saw them, from its short list of mappings.
        test_accuracy: 0 to 1; None until the test set is read.
    """

    p: float
    weight_bits: Mapping[str, int]
    activation_bits: Mapping[str, int]
    metrics: Mapping[str, float]
    searched: Mapping[str, float]
    test_accuracy: float | None = None

    @property
    def mean_bits(self) -> float:
        """Mean of the layers' weight bits, each layer counted once."""
        return float(np.mean(list(self.weight_bits.values())))

    @property
    def gap(self) -> float:
        """How much less energy the full mapping needs than the search thought, as a fraction; negative when more."""
        return 1 - self.metrics["energy_pj"] / self.searched["energy_pj"]


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
        hypervolumes: after each generation, relative to the last.
    """

    target: str
    objectives: tuple[str, ...]
    maximised: tuple[bool, ...]
    reference: Member
    members: tuple[Member, ...]
    cloud: tuple[Mapping[str, float], ...] = ()
    hypervolumes: tuple[float, ...] = ()

    def knee(self) -> Member | None:
        """The member where giving up a little of one objective no longer buys much of another; None without members."""
        return self.members[knee(self.minimised(self.members))] if self.members else None

    def best_within(self, loss: float = ACCURACY_LOSS, metric: str = "energy_pj") -> Member | None:
        """The member with the least `metric` whose validation accuracy is at most `loss` below the reference's.

        Chosen by validation accuracy, so that the test accuracy stays an honest estimate; None when there is none.
        """
        floor = self.reference.metrics["accuracy"] - loss - 1e-9
        close = [member for member in self.members if member.metrics["accuracy"] >= floor]
        return min(close, key=lambda m: m.metrics[metric]) if close else None

    def best_by_test(self, loss: float = ACCURACY_LOSS, metric: str = "energy_pj") -> Member | None:
        """Like `best_within`, chosen by the test set itself: optimistic, but how published figures are usually counted."""
        wanted = self.reference.test_accuracy
        if wanted is None:
            return None
        close = [m for m in self.members if m.test_accuracy is not None and m.test_accuracy >= wanted - loss - 1e-9]
        return min(close, key=lambda m: m.metrics[metric]) if close else None

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


def member_row(front: Front, member: Member) -> dict[str, Any]:
    """One line of `front.csv`."""
    row: dict[str, Any] = {"target": front.target, "p": member.p}
    row |= {f"q:{layer}": bits for layer, bits in member.weight_bits.items()}
    row |= {f"a:{layer}": bits for layer, bits in member.activation_bits.items()}
    row |= {"accuracy": member.metrics["accuracy"], "test_accuracy": member.test_accuracy}
    row |= {name: member.metrics[name] for name in ("energy_pj", "cycles", "edp", "size_bits", "macs")}
    row |= {"energy_factor": front.factor(member), "latency_factor": front.factor(member, "cycles")}
    row |= {"size_factor": front.factor(member, "size_bits"), "searched_energy_pj": member.searched["energy_pj"]}
    return row | {"searched_cycles": member.searched["cycles"]}


def front_document(front: Front) -> dict[str, Any]:
    """One entry of `front.json`."""

    def document(member: Member) -> dict[str, Any]:
        return {
            "p": member.p,
            "weight_bits": dict(member.weight_bits),
            "activation_bits": dict(member.activation_bits),
            "metrics": dict(member.metrics),
            "searched": dict(member.searched),
            "test_accuracy": member.test_accuracy,
        }

    best, by_test, bend = front.best_within(), front.best_by_test(), front.knee()
    return {
        "target": front.target,
        "objectives": list(front.objectives),
        "maximised": list(front.maximised),
        "reference": document(front.reference),
        "members": [document(member) for member in front.members],
        "knee": None if bend is None else front.members.index(bend),
        "best_within_0.3_points": None if best is None else front.members.index(best),
        "energy_factor_within_0.3_points": None if best is None else front.factor(best),
        "energy_factor_within_0.3_points_of_test": None if by_test is None else front.factor(by_test),
        "reference_has_seen_validation": front.seen_validation,
        "evaluated": len(front.cloud),
        "hypervolumes": list(front.hypervolumes),
    }
