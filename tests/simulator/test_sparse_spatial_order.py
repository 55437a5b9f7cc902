"""Where a loop in space of one pass stands: what a real Timeloop 4cf6d4c printed for one nest in nine orders.

Such a loop counts as on X wherever the mapping writes it, so that the last loop in space, which names the dimension along which a
vector lies, is one that runs on Y where there is any.
"""

import json
from pathlib import Path

import pytest

import hwloop
from hwloop.spec.batch import MappingBatch
from hwloop.spec.loops import spatial_sequence

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "sparse_spatial_order.json").read_text())
PROBLEM = hwloop.load_problem(RECORDED["problem"])
ARCHITECTURE = hwloop.load_architecture(json.dumps(RECORDED["arch"]))
TABLE = hwloop.load_energy_table(RECORDED["ert"])
RUNS = RECORDED["runs"]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: "".join(run["mapping"]["mapping"][0]["permutation"]))
def test_one_mapping_is_as_the_real_program_has_it(run: dict):
    cost = hwloop.simulate(PROBLEM, ARCHITECTURE, hwloop.load_mapping(run["mapping"]), TABLE)
    outputs = cost.components["DRAM"].dataspaces["Outputs"]
    assert [outputs.reads, outputs.updates] == run["dram_outputs"]
    assert cost.cycles == run["cycles"]
    assert cost.energy_pj == pytest.approx(run["energy_pj"], abs=0.05)  # it prints two decimals of each part


def test_a_batch_of_mappings_too():
    mappings = [hwloop.load_mapping(run["mapping"]) for run in RUNS]
    batch = MappingBatch.from_mappings(mappings, PROBLEM.shape, PROBLEM.bounds, ARCHITECTURE)
    costs = hwloop.simulate_batch(PROBLEM, ARCHITECTURE, batch, TABLE)
    assert costs.energy_pj.tolist() == pytest.approx([run["energy_pj"] for run in RUNS], abs=0.05)


def test_the_orders_are_not_all_alike():
    assert len({run["energy_pj"] for run in RUNS}) > 3


@pytest.mark.parametrize(
    "order, split, running, expected",
    [
        ("MRSC", 1, "RC", ("MSRC", 2)),
        ("MRSC", 4, "RC", ("MRSC", 4)),
        ("MRSC", -1, "M", ("RSCM", 3)),
        ("MRSC", 2, "", ("MRSC", 4)),
    ],
)
def test_loops_that_run_on_y_come_last(order: str, split: int, running: str, expected: tuple[str, int]):
    assert spatial_sequence(tuple(order), split, running) == (tuple(expected[0]), expected[1])
