"""The shapes that a problem may name instead of writing them out; `cnn_layer` is also the one of a problem without a shape."""

from __future__ import annotations

from typing import Any

DEFAULT_SHAPE = "cnn_layer"


def _space(name: str, *ranks: str, written: bool = False) -> dict[str, Any]:
    """A data space; a rank is a sum of terms such as `R*Wdilation+P*Wstride`."""
    projection = [[term.split("*") for term in rank.split("+")] for rank in ranks]
    return {"name": name, "projection": projection} | ({"read_write": True} if written else {})


_MATRICES = (_space("A", "M", "K"), _space("B", "N", "K"))
NAMED_SHAPES: dict[str, dict[str, Any]] = {
    DEFAULT_SHAPE: {
        "name": "CNN_Layer",
        "dimensions": list("RSPQCKN"),
        "coefficients": [{"name": name, "default": 1} for name in ("Wstride", "Hstride", "Wdilation", "Hdilation")],
        "data_spaces": [
            _space("Weights", "C", "K", "R", "S"),
            _space("Inputs", "N", "C", "R*Wdilation+P*Wstride", "S*Hdilation+Q*Hstride"),
            _space("Outputs", "N", "K", "Q", "P", written=True),
        ],
    },
    "gemm": {
        "name": "gemm",
        "dimensions": list("MNK"),
        "data_spaces": [*_MATRICES, _space("C", "M", "N"), _space("D", "M", "N", written=True)],
    },
    "gemm_ABZ": {
        "name": "gemm_ABZ",
        "dimensions": list("MNK"),
        "data_spaces": [*_MATRICES, _space("Z", "M", "N", written=True)],
    },
}
