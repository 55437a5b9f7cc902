"""How the nonzeros of a data space are spread: the density models of Sparseloop (MICRO 2022, section 5.3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

from hwloop.spec.document import Fields
from hwloop.spec.limits import COMPUTES

DENSITY_MODELS = ("fixed_structured", "hypergeometric", "banded", "actual_data")
_DENSITY_ALIASES = {
    "fixed": "fixed_structured",
    "diagonal": "banded",
    "fixed-structured": "fixed_structured",
    "random": "hypergeometric",
    "actual-data": "actual_data",
    "hyper_geometric": "hypergeometric",
}


@dataclass(frozen=True)
class Density:
    """How the nonzeros of a data space are spread (Sparseloop, MICRO 2022, section 5.3.2).

    Attributes:
        distribution: `fixed_structured` (every tile has exactly the density; N:M pruning), `hypergeometric` (nonzeros fall
            anywhere: unstructured pruning), `banded` (a diagonal band) or `actual_data` (counted from a file).
        density: fraction of nonzero values, 0-1; 1 is dense.
        band_width: half width of the band, for `banded`.
        workload_tensor_size: values in the tensor the density is about; 0 means the data space itself.
        filename: the file of counts, for `actual_data`.
        level: where it holds; everywhere when empty. For a result: of finished values, where they wait for their reader at this
            level under its format, as after a ReLU. Partial sums are dense, and so is what gating and skipping see.
    """

    distribution: str = "fixed_structured"
    density: float = 1.0
    band_width: int = 0
    workload_tensor_size: int = 0
    filename: str = ""
    level: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As it stands in `instance.densities`."""
        out: dict[str, Any] = {"distribution": self.distribution, "density": self.density}
        for name in ("band_width", "workload_tensor_size", "filename", "level"):
            if getattr(self, name):
                out[name] = getattr(self, name)
        return out


def read_density(entry: Fields) -> Density:
    """Reads one entry of `instance.densities`.

    Raises:
        SpecError: an unknown distribution or field, or a density outside 0-1.
    """
    raw_name = entry.text("distribution", "fixed_structured")
    distribution = _DENSITY_ALIASES.get(raw_name, raw_name)
    if distribution not in DENSITY_MODELS:
        raise entry.error("distribution", f"one of {DENSITY_MODELS}", raw_name)
    filename = entry.text("filename")
    value = entry.take("density", float, 1.0)
    if not 0.0 <= value <= 1.0:
        raise entry.error("density", "a fraction between 0 and 1", value)
    band_width, size = (_whole(entry, name) for name in ("band_width", "workload_tensor_size"))
    level = entry.text("level")
    entry.raw("knob", None)
    entry.finish()
    return Density(distribution, value, band_width, size, filename, level)


def _whole(entry: Fields, name: str) -> int:
    value = entry.take(name, float, 0.0)
    if not 0 <= value <= COMPUTES:
        raise entry.error(name, f"a number from 0 to {COMPUTES:.0e}", value)
    return int(value)


def unstructured(density: float, size: int) -> Density:
    """Unstructured pruning of a tensor of `size` values to this fraction: `hypergeometric`, or dense where no zero is left.

    Timeloop takes every tile of a hypergeometric tensor without zeros for empty where the level above holds it compressed, so
    that the levels below cost nothing. Written as `fixed_structured` 1 the same tensor is priced right, there and here.
    """
    full = density <= 1.0 and ceil(density * size) >= size
    return Density("fixed_structured", 1.0) if full else Density("hypergeometric", density)
