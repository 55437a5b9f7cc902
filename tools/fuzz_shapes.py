"""Problem shapes for `fuzz_cases.py`: dimensions, and the projection of each data space (the result last)."""

from __future__ import annotations

Terms = list[list[list[str]]]
SHAPES: dict[str, tuple[str, dict[str, Terms]]] = {
    "conv2d": (
        "CMRSNPQ",
        {
            "Weights": [[["C"]], [["M"]], [["R"]], [["S"]]],
            "Inputs": [[["N"]], [["C"]], [["R", "Wdilation"], ["P", "Wstride"]], [["S", "Hdilation"], ["Q", "Hstride"]]],
            "Outputs": [[["N"]], [["M"]], [["Q"]], [["P"]]],
        },
    ),
    "depthwise": (
        "CRSNPQ",
        {
            "Weights": [[["C"]], [["R"]], [["S"]]],
            "Inputs": [[["N"]], [["C"]], [["R", "Wdilation"], ["P", "Wstride"]], [["S", "Hdilation"], ["Q", "Hstride"]]],
            "Outputs": [[["N"]], [["C"]], [["Q"]], [["P"]]],
        },
    ),
    "grouped": (
        "GCMRSNPQ",
        {
            "Weights": [[["G"]], [["C"]], [["M"]], [["R"]], [["S"]]],
            "Inputs": [[["N"]], [["G"]], [["C"]], [["R"], ["P", "Wstride"]], [["S"], ["Q", "Hstride"]]],
            "Outputs": [[["N"]], [["G"]], [["M"]], [["Q"]], [["P"]]],
        },
    ),
    "conv1d": ("CKRP", {"W": [[["K"]], [["C"]], [["R"]]], "I": [[["C"]], [["P", "s"], ["R", "d"]]], "O": [[["K"]], [["P"]]]}),
    "conv3d": (
        "CMRSTXYZ",
        {
            "Weights": [[["C"]], [["M"]], [["R"]], [["S"]], [["T"]]],
            "Inputs": [[["C"]], [["R"], ["X", "s"]], [["S"], ["Y"]], [["T"], ["Z"]]],
            "Outputs": [[["M"]], [["X"]], [["Y"]], [["Z"]]],
        },
    ),
    "matmul": ("MNK", {"A": [[["M"]], [["K"]]], "B": [[["K"]], [["N"]]], "Z": [[["M"]], [["N"]]]}),
    "batched": ("BMNK", {"A": [[["B"]], [["M"]], [["K"]]], "B": [[["B"]], [["K"]], [["N"]]], "Z": [[["B"]], [["M"]], [["N"]]]}),
    "dot": ("KM", {"A": [[["K"]]], "B": [[["K"]]], "Z": [[["M"]]]}),
    "mttkrp": (
        "IJKL",
        {"A": [[["I"]], [["J"]]], "B": [[["I"]], [["K"]], [["L"]]], "C": [[["K"]], [["J"]]], "D": [[["L"]], [["J"]]]},
    ),
    "attention": ("HQKE", {"Q": [[["H"]], [["Q"]], [["E"]]], "K": [[["H"]], [["K"]], [["E"]]], "S": [[["H"]], [["Q"]], [["K"]]]}),
    "pool": ("CPQRS", {"X": [[["C"]], [["P", "s"], ["R"]], [["Q", "s"], ["S"]]], "Y": [[["C"]], [["P"]], [["Q"]]]}),
    "diagonal": ("IJ", {"A": [[["I"], ["J"]]], "B": [[["J"]]], "Z": [[["I"]]]}),
}
