"""What a compression run is asked for, as plain data: the same for the CLI, a script and `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

from hwloop.backend.embedded import EMBEDDED
from hwloop.backend.find import SIMULATORS
from hwloop.backend.target import ACTIVATIONS
from hwloop.errors import SpecError
from hwloop.search.method import find_method
from hwloop.search.objectives import find_objectives, read_budget
from hwloop.search.options import plain_options
from hwloop.search.seams import SearchBudget
from hwloop.search.space import check_activation_bits, check_space
from hwloop.spec.bits import MAX_QUANTISED, MIN_QUANTISED, check_bit_range, check_bits
from hwloop.spec.pruning import check_density, check_pruning

CODINGS = ("normal", "csr", "coo")
EFFORTS = ("quick", "normal", "thorough")
LIBRARY_MODES = ("trajectory", "gradual")
GRANULARITIES = ("channel", "tensor")
COMPRESSIONS = ("second-order", "magnitude")
BATCHNORMS = ("base", "plain", "augmented")
VALIDATIONS = ("auto", "held-out")  # or `test:N`
PRUNING = (0.7, 0.8, 0.9)  # below, layers pruned at once are as good as retrained ones
PAPER_PRUNING = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
DISTILLATION = 0.9
ONE_SHOT = tuple(round(0.05 * step, 4) for step in range(1, 20))
MAPPER_OBJECTIVES = ("edp", "energy", "cycles")


@dataclass(frozen=True)
class Settings:
    """Everything a run's result depends on besides the model, the data and the targets.

    Attributes:
        objectives: what is traded off: accuracy, energy, latency, edp, size, flops.
        budgets: what must hold, e.g. `energy<=2uJ`, `accuracy>=97%`.
        method: the search method: `nsga2`, `random`, or `package.module:Class`.
        method_options: its settings by name, e.g. `{"population": 40}`.
        space: what may be changed: `global-pruning`, or `package.module:Class`.
        space_options: its options by name.
        evaluations: candidates that may be evaluated on each target; the method's own number when None.
        images: images that networks may be run on for each target, in evaluation and in training.
        weight_bits: (least, most) bits per weight.
        activation_bits: (least, most) when searched, a number when fixed, None to leave activations at `reference_bits`.
        reference_bits: bits per weight and activation of the network that is not compressed, the baseline of all factors.
        coding: how the stored model is coded: `normal`, `csr` or `coo`.
        compression: how layers are pruned and rounded: `second-order`: each so that its outputs change least, from the bank;
            `magnitude`: the smallest weights go, the rest to the nearest levels, as in the paper.
        pruning: pruning amounts of the library: fractions of weights removed by steps, with retraining; 0 alone retrains nothing.
            None for 70, 80 and 90% under `second-order`, for twelve amounts from 10 to 95% under `magnitude`.
        one_shot: pruning amounts that candidates may have besides, reached at once from the network of the library with the next
            lower amount; None for 5% to 95% under `second-order`, for none under `magnitude`.
        calibration_images: training images that the bank's layers are seen on.
        bias_correction: shift the mean outputs of the bank's layers back to what they were in the base.
        batchnorm: statistics of BatchNorm: `base`: as in the network of the library; else measured anew for each candidate, on
            `plain` or on `augmented` training images.
        batchnorm_images: how many.
        library_mode: `trajectory` or `gradual`.
        library_epochs: of retraining, each step.
        library_learning_rate: of retraining, at its highest.
        distillation: share of retraining's loss that is the distance from the trained network's scores, 0 to 1; None for 0.9
            under `second-order`, 0 under `magnitude`.
        epochs: of training, when no weights are given.
        batch_size: of training and retraining.
        learning_rate: of training.
        train_images: training images used, validation included, in the classes' proportions; all when None.
        validation: what the search scores on: `held-out`: training images that are held out (or the caller's own validation
            part); `test:N`: N images of the test set, by class, of which the report then has the rest; `auto`: the first, unless
            the weights that are given know the held-out images, see `hwloop.run.validation`.
        published_accuracy: of the weights that are given, on the test set, 0 to 1: what `auto` holds them against.
        validation_images: of the validation split that the search scores on; all when None.
        granularity: of the weights' steps: `channel` or `tensor`.
        mapper_objective: what the mapper minimises: `edp`, `energy` or `cycles`; follows the objectives when empty.
        mapper_effort: how long it looks: `quick`, `normal` or `thorough`.
        energy: the energy source.
        activations: `streamed`: feature maps go through the outermost level from layer to layer; `resident`: they stay on chip
            where that makes the network cheaper.
        simulator: who costs the mappings: `embedded`, `timeloop` or `timeloop-mapper`.
        seed: of everything that is drawn.

    Raises:
        SpecError: a value that makes no sense.
    """

    objectives: tuple[str, ...] = ("accuracy", "energy")
    budgets: tuple[str, ...] = ()
    method: str = "nsga2"
    method_options: Mapping[str, Any] = field(default_factory=dict)
    space: str = "global-pruning"
    space_options: Mapping[str, Any] = field(default_factory=dict)
    evaluations: int | None = None
    images: int | None = None
    weight_bits: tuple[int, int] = (2, 16)
    activation_bits: tuple[int, int] | int | None = 8
    reference_bits: int = 16
    coding: str = "normal"
    compression: str = "second-order"
    pruning: tuple[float, ...] | None = None
    one_shot: tuple[float, ...] | None = None
    calibration_images: int = 512
    bias_correction: bool = False
    batchnorm: str = "base"
    batchnorm_images: int = 1024
    library_mode: str = "trajectory"
    library_epochs: int = 1
    library_learning_rate: float = 0.02
    distillation: float | None = None
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 0.05
    train_images: int | None = None
    validation: str = "auto"
    published_accuracy: float | None = None
    validation_images: int | None = None
    granularity: str = "channel"
    mapper_objective: str = ""
    mapper_effort: str = "normal"
    energy: str = "shipped"
    activations: str = "streamed"
    simulator: str = EMBEDDED
    seed: int = 0

    def __post_init__(self) -> None:
        find_objectives(self.objectives)
        for text in self.budgets:
            read_budget(text)
        SearchBudget(self.evaluations, self.images)
        check_bit_range(self.weight_bits, "weight_bits", MIN_QUANTISED, MAX_QUANTISED)
        check_activation_bits(self.activation_bits)
        check_bits(self.reference_bits, "reference_bits")
        if self.pruning is not None and not self.pruning:
            raise SpecError("<arguments>", "pruning", "at least one pruning amount", self.pruning)
        for name in ("pruning", "one_shot"):
            for amount in getattr(self, name) or ():
                check_pruning(amount, name)
        for name, least in (
            ("library_epochs", 0), ("epochs", 0), ("batch_size", 1), ("seed", 0), ("calibration_images", 1),
            ("batchnorm_images", 1),
        ):  # fmt: skip
            _check_count(name, getattr(self, name), least)
        if not isinstance(self.bias_correction, bool):
            raise SpecError("<arguments>", "bias_correction", "true or false", self.bias_correction)
        if self.bias_correction and self.compression == "magnitude":
            expected = "false with magnitude, which knows nothing of outputs"
            raise SpecError("<arguments>", "bias_correction", expected, True)
        if self.published_accuracy is not None:
            check_density(self.published_accuracy, "published_accuracy")
        if self.distillation is not None:
            check_density(self.distillation, "distillation")
        read_validation(self.validation)
        for name in ("train_images", "validation_images"):
            if getattr(self, name) is not None:
                _check_count(name, getattr(self, name), 1)
        for name in ("library_learning_rate", "learning_rate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value) or value <= 0:
                raise SpecError("<arguments>", name, "a number above 0", value)
        for name, known in (
            ("coding", CODINGS), ("library_mode", LIBRARY_MODES), ("granularity", GRANULARITIES), ("mapper_effort", EFFORTS),
            ("mapper_objective", ("", *MAPPER_OBJECTIVES)), ("simulator", tuple(SIMULATORS)), ("activations", ACTIVATIONS),
            ("compression", COMPRESSIONS), ("batchnorm", BATCHNORMS),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                expected = " or ".join(word for word in known if word)
                raise SpecError("<arguments>", name, expected, getattr(self, name))

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

    @property
    def members(self) -> tuple[float, ...]:
        """Pruning amounts of the library, the trained network (0) among them, rising."""
        default = PAPER_PRUNING if self.compression == "magnitude" else PRUNING
        given = default if self.pruning is None else self.pruning
        return tuple(sorted({0.0, *(round(amount, 4) for amount in given)}))

    @property
    def amounts(self) -> tuple[float, ...]:
        """Pruning amounts that candidates may have besides those of the library, rising."""
        given = self.one_shot if self.one_shot is not None else ONE_SHOT if self.compression == "second-order" else ()
        return tuple(sorted({round(amount, 4) for amount in given} - set(self.members)))

    @property
    def distilled(self) -> float:
        """Share of distillation in retraining."""
        default = DISTILLATION if self.compression == "second-order" else 0.0
        return default if self.distillation is None else self.distillation

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `config.json`, with every setting of the method and every option of the space.

        Raises:
            SpecError: no such method or space, or options that they do not have.
            DataError: the user's own cannot be imported.
        """
        method = find_method(self.method, self.method_options)
        options = {"method_options": plain_options(method), "space_options": check_space(self.space, self.space_options)}
        told = {"pruning": self.members, "one_shot": self.amounts, "distillation": self.distilled}
        return {**asdict(self), **told, **options}


def read_validation(text: str) -> int | None:
    """How many images `test:N` takes of the test set; None for a part of the training set.

    Raises:
        SpecError: neither `auto`, nor `held-out`, nor `test:N`.
    """
    if text in VALIDATIONS:
        return None
    kind, _, count = text.partition(":") if isinstance(text, str) else ("", "", "")
    if kind != "test" or not count.isdecimal() or int(count) < 1:
        raise SpecError("<arguments>", "validation", "auto, held-out, or test:N, such as test:5000", text)
    return int(count)


def _check_count(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SpecError("<arguments>", name, f"a whole number of {least} or more", value)
