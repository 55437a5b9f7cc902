"""What the backend's tests share: the mapper's small dataflows, a small network, and a backend that keeps what it was asked."""

from __future__ import annotations

from collections.abc import Sequence

from hwloop.backend.distinct import Wrapper
from hwloop.backend.embedded import Embedded
from hwloop.backend.request import MapRequest, OnOutcome, Outcome
from hwloop.spec.channels import ChannelGroup
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.workload import Layer, Workload

from ..mapper.conftest import energies  # noqa: F401


class Asked(Wrapper):
    """The embedded backend in this process; keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(Embedded(workers=1))
        self.requests: list[MapRequest] = []

    def map(self, requests: Sequence[MapRequest], on_outcome: OnOutcome | None = None) -> list[Outcome]:
        self.requests += requests
        return super().map(requests, on_outcome)


def small_network() -> Workload:
    """Three convolutions in a row, the last two alike; the first one's channels may be pruned."""
    shape = conv2d_shape()
    sizes = ({"C": 4, "M": 8}, {"C": 8, "M": 8}, {"C": 8, "M": 8})
    problems = [make_problem(shape, {**size, "R": 3, "S": 3, "P": 6, "Q": 6}) for size in sizes]
    layers = [Layer(f"conv{i}", problem, "conv", "", f"conv{i}.weight") for i, problem in enumerate(problems)]
    parameters = (("conv0.weight", (8, 4, 3, 3)), ("conv1.weight", (8, 8, 3, 3)), ("conv2.weight", (8, 8, 3, 3)))
    return Workload("small", tuple(layers), parameters, channels=(ChannelGroup("conv0", 8, ("conv0",), (("conv1", 0, 1),)),))
