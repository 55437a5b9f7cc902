"""Reading `stats.txt` back."""

from __future__ import annotations

import pytest

from hwloop import SimulatorError
from hwloop.backend.timeloop.stats import parse_stats

STATS = """Buffer and Arithmetic Levels
----------------------------
Level 0
-------
=== mac ===

    SPECS
    -----
    Word bits             : 16

    STATS
    -----
    Computes (total)        : 24
    Cycles                  : 24
    Energy (total)          : 6.00 pJ

Level 1
-------
=== DRAM ===

    SPECS
    -----
        Leakage energy (total)          : 1.50 pJ

    STATS
    -----
    Cycles               : 24
    Bandwidth throttling : 1.00
    Weights:
        Utilized capacity                        : 8
        Scalar reads (per-instance)              : 24
        Energy (total)                           : 240.00 pJ
        Max utilized Repr format storage capacity
            Rank 0 : metadata 3

Networks
--------

Summary Stats
-------------
Utilization: 100.00%
Cycles: 24
Energy: 0.00 uJ

Computes = 24
fJ/Compute
    mac                                           = 250.00
    DRAM                                          = 10062.50
    Total                                         = 10312.50
"""


def test_every_block_is_read() -> None:
    found = parse_stats(STATS)
    assert (found["cycles"], found["computes"], found["energy"], found["utilization_pct"]) == (24, 24, "0.00 uJ", 100.0)
    assert found["fj_per_compute"] == {"mac": 250.0, "DRAM": 10062.5, "Total": 10312.5}
    dram = found["components"]["DRAM"]
    assert dram["Leakage energy (total)"] == 1.5
    assert dram["dataspaces"]["Weights"]["Scalar reads (per-instance)"] == 24
    assert found["components"]["mac"]["Energy (total)"] == 6.0


def test_a_torn_file_is_refused() -> None:
    with pytest.raises(SimulatorError, match=r"not a complete stats\.txt: no cycles, energy, computes"):
        parse_stats(STATS[:400])
