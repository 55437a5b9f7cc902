"""What is damaged: sets of specs that work, from the shipped files and the recorded corpus, small enough to map."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hwloop.spec.document import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "data" / "corpus"


@dataclass(frozen=True)
class Bundle:
    """Specs that go together, as plain data."""

    architecture: Any
    table: Any
    problem: Any
    mapping: Any
    constraints: Any


@cache
def bundles() -> tuple[Bundle, ...]:
    """Recorded cases, then each shipped accelerator under a dataflow of its own and two small layers."""
    out = []
    for name in ("dense", "sparse", "unusual", "sparse_unusual"):
        with gzip.open(CORPUS / f"{name}.jsonl.gz", "rt") as file:
            records = [json.loads(line) for line in file]
        for r in records[:: max(len(records) // 12, 1)]:
            out.append(Bundle(parse_yaml(r["arch"], name), r["ert"], r["problem"], r["mapping"], {"targets": []}))
    pairs = (("eyeriss_168", "xfx"), ("eyeriss_168_gating", "row_stationary"), ("tpu_like", "cico"), ("flexible_skipping",
    "output_stationary"),
             ("shidiannao_like", "xy"), ("tpu_like_compressed", "weight_stationary"), ("flexible", "fxfy"))  # fmt: skip
    for accelerator, dataflow in pairs:
        architecture, table, constraints = (
            parse_yaml((ROOT / place).read_text(), place)
            for place in (f"arch_specs/{accelerator}.yaml", f"arch_specs/{accelerator}.ert.yaml", f"mappings/{dataflow}.yaml")
        )
        out += [Bundle(architecture, table, problem(density), [], constraints) for density in (1.0, 0.4)]
    return tuple(out)


def problem(density: float) -> Any:
    """A small convolution."""
    c, m, r, s, p, q, n = ([[x]] for x in "CMRSPQN")
    instance: dict[str, Any] = {"C": 4, "M": 4, "R": 3, "S": 3, "P": 4, "Q": 4, "N": 1, "Wstride": 1, "Hstride": 1}
    if density < 1:
        instance["densities"] = {"Weights": {"distribution": "hypergeometric", "density": density}, "Inputs": density}
    return {"problem": {"version": 0.4, "instance": instance, "shape": {
        "name": "conv2D", "dimensions": list("CMRSPQN"), "coefficients": [{"name": "Wstride", "default": 1}, {"name": "Hstride",
        "default": 1}],
        "data_spaces": [
            {"name": "Weights", "projection": [c, m, r, s]},
            {"name": "Inputs", "projection": [n, c, [["R"], ["P", "Wstride"]], [["S"], ["Q", "Hstride"]]]},
            {"name": "Outputs", "projection": [n, m, q, p], "read_write": True}]}}}  # fmt: skip


WORKLOAD: Any = {"workload": {
    "name": "net", "parameters": {"a.weight": [4, 2, 3, 3], "b.weight": [5, 64]},
    "layers": [
        {"name": "a", "kind": "conv", "module": "a", "parameter": "a.weight", "shape": "conv2D",
         "instance": {"C": 2, "M": 4, "R": 3, "S": 3, "P": 4, "Q": 4, "N": 1, "Wstride": 1, "Hstride": 1, "Wdilation": 1,
         "Hdilation": 1}},
        {"name": "b", "kind": "linear", "module": "b", "parameter": "b.weight", "shape": "conv2D", "inputs": ["a"],
         "instance": {"C": 64, "M": 5, "R": 1, "S": 1, "P": 1, "Q": 1, "N": 1}}],
    "unmapped": [{"module": "c", "operation": "aten.x", "reason": "y"}], "free_operations": {"relu": 1}}}  # fmt: skip
PLAN: Any = {"plan": {"layers": {
    "a": {"weight_density": 0.5, "input_density": 0.75, "weight_bits": 4, "activation_bits": 8},
    "b": {"weight_density": {"distribution": "fixed_structured", "density": 0.25}, "weight_bits": 3}}}}  # fmt: skip
