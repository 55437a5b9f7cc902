"""What a compression run is asked for, as plain data: the same for the CLI, a script and `config.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hwloop.backend.embedded import EMBEDDED
from hwloop.backend.find import SIMULATORS
from hwloop.errors import SpecError
from hwloop.search.genotype import MAX_BITS
from hwloop.search.objectives import find_objectives, read_budget

CODINGS = ("normal", "csr", "coo")


@dataclass(frozen=True)
class Settings:
    """Everything a run's result depends on beside the model, the data and the targets.

    Attributes:
        objectives: what is traded off: accuracy, energy, latency, edp, size, flops.
        budgets: what must hold, e.g. `energy<=2uJ`, `accuracy>=97%`.
        population: candidates held at a time.
        generations: of the evolution.
        method: the search method.
        weight_bits: (least, most) bits per weight.
        activation_bits: (least, most) when searched, a number when fixed, None to leave activations at `reference_bits`.
        reference_bits: bits per weight and activation of the network that is not compressed, the baseline of all factors.
        coding: how the stored model is coded: `normal`, `csr` or `coo`.
        fractions: pruning amounts of the library.
        library_mode: `trajectory` or `gradual`.
        library_epochs: of retraining, each step.
        library_learning_rate: of retraining, at its highest.
        epochs: of training, when no weights are given.
        batch_size: of training and retraining.
        learning_rate: of training.
        train_images: training images used, validation included, in the classes' proportions; all when None.
        validation_images: of the validation split that the search scores on; all when None.
        granularity: of the weights' steps: `channel` or `tensor`.
        mapper_objective: what the mapper minimises; follows the objectives when empty.
        mapper_effort: how long it looks.
        energy: the energy source.
        simulator: who costs the mappings: `embedded`, `timeloop` or `timeloop-mapper`.
        seed: of everything that is drawn.

    Raises:
        SpecError: a value that makes no sense.
    """

    objectives: tuple[str, ...] = ("accuracy", "energy")
    budgets: tuple[str, ...] = ()
    population: int = 40
    generations: int = 25
    method: str = "nsga2"
    weight_bits: tuple[int, int] = (2, 16)
    activation_bits: tuple[int, int] | int | None = 8
    reference_bits: int = 16
    coding: str = "normal"
    fractions: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    library_mode: str = "trajectory"
    library_epochs: int = 1
    library_learning_rate: float = 0.02
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 0.05
    train_images: int | None = None
    validation_images: int | None = None
    granularity: str = "channel"
    mapper_objective: str = ""
    mapper_effort: str = "normal"
    energy: str = "shipped"
    simulator: str = EMBEDDED
    seed: int = 0

    def __post_init__(self) -> None:
        find_objectives(self.objectives)
        for text in self.budgets:
            budget = read_budget(text)
            if budget.objective.maximise and budget.bound > 1:
                raise SpecError("<arguments>", "budgets", "an accuracy of at most 1 or 100%", text, "e.g. accuracy>=97%")
        bits = (1, 1) if self.activation_bits is None else self.activation_bits
        bits = (bits, bits) if isinstance(bits, int) else bits
        checks = (
            ("population", self.population >= 4, "4 or more", self.population),
            ("generations", self.generations >= 1, "1 or more", self.generations),
            ("reference_bits", 1 <= self.reference_bits <= 64, "from 1 to 64", self.reference_bits),
            ("simulator", self.simulator in SIMULATORS, " or ".join(SIMULATORS), self.simulator),
            ("coding", self.coding in CODINGS, " or ".join(CODINGS), self.coding),
            (
                "validation_images",
                self.validation_images is None or self.validation_images >= 1,
                "1 or more",
                self.validation_images,
            ),
            (
                "weight_bits",
                2 <= self.weight_bits[0] <= self.weight_bits[1] <= MAX_BITS,
                f"a rising range within 2-{MAX_BITS}",
                self.weight_bits,
            ),
            ("activation_bits", 1 <= bits[0] <= bits[1] <= MAX_BITS, f"within 1-{MAX_BITS}, rising", self.activation_bits),
            ("library_epochs", self.library_epochs >= 0, "0 or more", self.library_epochs),
            ("epochs", self.epochs >= 0, "0 or more", self.epochs),
        )
        for name, good, expected, found in checks:
            if not good:
                raise SpecError("<arguments>", name, expected, found)

    @property
    def mapping_objective(self) -> str:
        """What the mapper minimises: as asked, else energy or cycles when the search wants that alone, else their product."""
        if self.mapper_objective:
            return self.mapper_objective
        names = {objective.name for objective in find_objectives(self.objectives)}
        names |= {read_budget(budget).objective.name for budget in self.budgets}
        if "edp" in names or {"energy", "latency"} <= names or not names & {"energy", "latency"}:
            return "edp"
        return "energy" if "energy" in names else "cycles"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `config.json`."""
        return asdict(self)
