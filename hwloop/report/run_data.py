"""A compression run as a report sees it: what was asked for, what came out, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwloop.report.result import Front
from hwloop.report.saved_layers import SavedTarget

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class RunData:
    """A run folder, read.

    Attributes:
        folder: where it is.
        config: what was asked for.
        versions: of the software.
        document: `front.json`; empty while the run is not finished.
        fronts: of the finished run, one a target.
        layers: by target, how the layers of its front run; a target is missing where nobody wrote that down.
        evaluated: by target, the metrics of every candidate so far.
        notes: what is missing or could not be read.
    """

    folder: Path
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    document: Mapping[str, Any] = field(default_factory=dict)
    fronts: tuple[Front, ...] = ()
    layers: Mapping[str, SavedTarget] = field(default_factory=dict)
    evaluated: Mapping[str, tuple[Metrics, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether there is a front for every target."""
        return bool(self.fronts) and len(self.fronts) == len(self.targets)

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that were asked for."""
        return tuple(str(name) for name in self.config.get("targets", ()))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that were asked for."""
        found = self.config.get("settings", {})
        return found if isinstance(found, Mapping) else {}

    @property
    def title(self) -> str:
        """Network, data and targets in one line."""
        return f"{self.config.get('model', 'network')} on {self.config.get('data', 'data')}: {', '.join(self.targets)}"

    @property
    def status(self) -> str:
        """How far the run is, in a sentence."""
        if self.finished:
            return "finished"
        counts = [f"{len(self.evaluated.get(target, ()))} candidates on {target}" for target in self.targets]
        return f"not finished: {', '.join(counts) or 'nothing'} evaluated so far; `hwloop compress --resume` continues it"


@dataclass(frozen=True)
class Baseline:
    """What a factor is counted against, in words."""

    energy: str
    plain: str
    size: str


def baselines(run: RunData) -> Baseline:
    """The baselines of a run's factors."""
    bits = run.settings.get("reference_bits", 16)
    return Baseline(
        f"energy against the network that is not compressed: nothing pruned, {bits}-bit weights and activations, on the same "
        "accelerator under the same dataflow, which uses the zeros of the activations where it can",
        f"energy against plain dense: the same {bits}-bit network where no zero is used and no feature map stays on chip",
        "size against the network that is not compressed, stored as 32-bit floats without coding",
    )
