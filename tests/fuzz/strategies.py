"""Hypothesis strategies: plain data of any kind, and small specs that go together."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

WORDS = st.sampled_from(
    (
        "a",
        "name",
        "class",
        "target",
        "type",
        "factors",
        "C",
        "M",
        "Weights",
        "temporal",
        "spatial",
        "SRAM",
        "mac",
        "keep",
        "nodes",
        "DRAM",
    )
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | WORDS
DATA: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    """A matrix product or a 1-D convolution with small sizes, sometimes sparse."""
    sizes = {d: draw(st.integers(1, 12)) for d in ("C", "M", "P", "R")}
    window = [["R"], ["P", "stride"]] if draw(st.booleans()) else [["P"]]
    instance: dict[str, Any] = {**sizes, "stride": draw(st.integers(1, 3))}
    if draw(st.booleans()):
        model = draw(st.sampled_from(("fixed_structured", "hypergeometric")))
        instance["densities"] = {"Weights": {"distribution": model, "density": draw(st.floats(0.01, 1))}}
    spaces = [
        {"name": "Weights", "projection": [[["C"]], [["M"]], [["R"]]]},
        {"name": "Inputs", "projection": [[["C"]], window]},
        {"name": "Outputs", "projection": [[["M"]], [["P"]]], "read_write": True},
    ]
    shape = {
        "name": "s",
        "dimensions": ["C", "M", "P", "R"],
        "coefficients": [{"name": "stride", "default": 1}],
        "data_spaces": spaces,
    }
    return {"version": 0.4, "instance": instance, "shape": shape}


@st.composite
def architectures(draw: st.DrawFn) -> dict[str, Any]:
    """One to three storages over an array of compute units, in the form of the programs."""
    x, y = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    local = [{"name": "DRAM", "class": "DRAM", "attributes": {"width": 64, "datawidth": draw(st.sampled_from((8, 16)))}}]
    for i in range(draw(st.integers(0, 2))):
        depth, width = draw(st.integers(1, 2000)), draw(st.sampled_from((16, 32, 64)))
        local.append({"name": f"b{i}", "class": "SRAM", "attributes": {"width": width, "datawidth": 16, "depth": depth}})
    local.append({"name": f"mac[1..{x * y}]", "class": "intmac", "attributes": {"meshX": x, "meshY": y}})  # type: ignore[dict-item]
    return {"architecture": {"version": 0.4, "subtree": [{"name": "system", "local": local}]}}


def table(architecture: dict[str, Any]) -> dict[str, dict[str, float]]:
    """An energy table for such an accelerator."""
    names = [c["name"].split("[")[0] for c in architecture["architecture"]["subtree"][0]["local"]]
    return {name: {"compute": 1.0} if name == "mac" else {"read": 2.0, "write": 3.0} for name in names}
