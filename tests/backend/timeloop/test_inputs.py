from __future__ import annotations

import string
from typing import Any

import pytest
import yaml

import hwloop
from hwloop import SpecError
from hwloop.backend.timeloop.inputs import letters, mapper_input, model_input
from hwloop.spec.batch import MappingBatch
from hwloop.spec.constraint_sets import load_constraints
from hwloop.spec.document import to_yaml

ARCHITECTURE = """
architecture:
  version: 0.4
  nodes:
  - !Container {name: system, attributes: {technology: "45nm", global_cycle_seconds: 1e-9}}
  - !Component
    name: DRAM
    class: DRAM
    attributes: {width: 64, datawidth: 16, metadata_storage_width: 16, metadata_datawidth: 4, decompression_supported: true}
    sparse_optimizations:
      representation_format:
        data_spaces:
        - name: A
          ranks:
          - {format: UOP, flattened_rankIDs: [[Rows, Depth, Columns]]}
          - {format: CP, flattened_rankIDs: [[Rows, Depth, Columns]]}
  - !Container {name: PE, spatial: {meshX: 4, meshY: 2}}
  - !Component {name: spad, class: SRAM, attributes: {width: 16, datawidth: 16, depth: 512, decompression_supported: true}}
  - !Component {name: mac, class: intmac, attributes: {datawidth: 16}}
"""
MATMUL = {
    "version": 0.4,
    "instance": {"Rows": 4, "Columns": 8, "Depth": 6, "densities": {"A": 0.5}},
    "shape": {
        "name": "matmul",
        "dimensions": ["Rows", "Columns", "Depth"],
        "data_spaces": [
            {"name": "A", "projection": [[["Rows"]], [["Depth"]]]},
            {"name": "B", "projection": [[["Depth"]], [["Columns"]]]},
            {"name": "Z", "projection": [[["Rows"]], [["Columns"]]], "read_write": True},
        ],
    },
}
MAPPING = [
    {
        "target": "inter_PE_spatial",
        "type": "spatial",
        "factors": {"Columns": 4, "Rows": 2},
        "permutation": ["Columns", "Rows"],
        "split": 1,
    },
    {"target": "spad", "type": "temporal", "factors": {"Depth": [4, 2]}, "permutation": ["Depth"]},
    {"target": "DRAM", "type": "temporal", "factors": {"Depth": 2, "Rows": 2, "Columns": 2}, "permutation": ["Columns", "Rows"]},
]
TABLE = {"DRAM": {"read": 100, "write": 120, "leak": 0.5}, "spad": {"read": 1, "write": 2}, "mac": {"compute": 3}}


def document() -> dict[str, Any]:
    problem, architecture = hwloop.load_problem(MATMUL), hwloop.load_architecture(ARCHITECTURE)
    batch = MappingBatch.from_mappings([hwloop.load_mapping(MAPPING)], problem.shape, problem.bounds, architecture)
    whole = batch.to_mapping(0, problem.shape, architecture)
    written = model_input(problem, architecture, whole, hwloop.load_energy_table(TABLE))
    return dict(yaml.safe_load(to_yaml(written)))


def test_long_names_become_letters() -> None:
    names = letters(("N", "Rows", "a", "Columns"))
    assert names["N"] == "N"
    assert names["a"] == "a"
    assert len(set(names.values())) == 4
    assert all(len(letter) == 1 for letter in names.values())


def test_more_dimensions_than_letters_are_refused() -> None:
    with pytest.raises(SpecError, match="at most 52 dimensions for Timeloop"):
        letters(f"dimension{i}" for i in range(53))
    assert set(letters(f"dimension{i}" for i in range(52)).values()) == set(string.ascii_letters)


def test_the_document_holds_everything_in_letters() -> None:
    written = document()
    assert {"architecture", "problem", "mapping", "ERT", "ART", "sparse_optimizations"} <= set(written)
    dims = written["problem"]["shape"]["dimensions"]
    rows, columns, depth = dims
    assert all(len(d) == 1 for d in dims)
    assert {d: written["problem"]["instance"][d] for d in dims} == {rows: 4, columns: 8, depth: 6}
    assert written["problem"]["instance"]["densities"]["A"]["density"] == 0.5
    _, rank = written["sparse_optimizations"]["targets"][0]["representation_format"]["data_spaces"][0]["ranks"]
    assert rank["flattened_rankIDs"] == [[rows, depth, columns]]


def test_the_mapping_is_written_out_whole() -> None:
    written = document()
    rows, columns, depth = written["problem"]["shape"]["dimensions"]
    entries = {(e["target"], e["type"]): e for e in written["mapping"]}
    spatial = entries["inter_PE_spatial", "spatial"]
    assert {columns: "4", rows: "2"}.items() <= dict(f.split("=") for f in spatial["factors"].split(",")).items()
    assert set(spatial["permutation"][: spatial["split"]]) >= {columns}
    assert rows in spatial["permutation"][spatial["split"] :]
    assert f"{depth}=4,2" in entries["spad", "temporal"]["factors"]
    assert all(len(e["permutation"]) == 3 for (_, kind), e in entries.items() if kind in ("temporal", "spatial"))
    assert entries["inter_PE_spatial", "bypass"]["keep"] == []  # the programs would have a fan-out keep what is not bypassed


def test_levels_and_energies_carry_the_names_the_programs_look_for() -> None:
    written = document()
    [top] = written["architecture"]["subtree"]
    names = [level["name"] for level in top["local"]]
    assert names == ["DRAM[1..1]", "inter_PE_spatial[1..1]", "spad[1..8]", "mac[1..8]"]
    tables = {table["name"]: {a["name"]: a["energy"] for a in table["actions"]} for table in written["ERT"]["tables"]}
    assert tables[f"{top['name']}.DRAM[1..1]"] == {"read": 100, "write": 120, "leak": 0.5}
    assert f"{top['name']}.mac[1..8]" in tables


def test_what_was_written_reads_back_the_same() -> None:
    written = document()
    architecture = hwloop.load_architecture(written)
    original = hwloop.load_architecture(ARCHITECTURE)
    assert [(x.name, x.instances, x.entries) for x in architecture.levels] == [
        (x.name, x.instances, x.entries) for x in original.levels
    ]
    problem = hwloop.load_problem(written["problem"])
    cost = hwloop.simulate(problem, architecture, hwloop.load_mapping(written["mapping"]), hwloop.load_energy_table(written))
    asked = hwloop.simulate(MATMUL, original, MAPPING, TABLE)
    assert (cost.energy_pj, cost.cycles) == (asked.energy_pj, asked.cycles)


def constraint_of(text: str, sizes: dict[str, int]) -> list[dict[str, Any]]:
    problem = hwloop.load_problem({**MATMUL, "instance": sizes})
    written = mapper_input(
        problem,
        hwloop.load_architecture(ARCHITECTURE),
        hwloop.load_energy_table(TABLE),
        load_constraints(text),
        {"algorithm": "random"},
    )
    assert written["mapper"]["algorithm"] == "random"
    return list(written["architecture_constraints"]["targets"])


def test_constraints_put_dimensions_of_one_pass_in_front_where_they_count_towards_the_split() -> None:
    text = "targets: [{target: inter_PE_spatial, type: spatial, permutation: [Columns, Rows], split: 1}]"
    free, *_ = constraint_of(text, {"Rows": 4, "Columns": 8, "Depth": 6})
    rows, columns, depth = letters(("Rows", "Columns", "Depth")).values()
    assert (free["permutation"], free["split"]) == (columns + rows, 1)
    single, *_ = constraint_of(text, {"Rows": 4, "Columns": 8, "Depth": 1})
    assert (single["permutation"], single["split"]) == (depth + columns + rows, 1)


def test_constraints_of_a_dimension_that_the_problem_lacks_are_refused() -> None:
    text = "targets: [{target: spad, type: temporal, permutation: [Groups, Rows, '*', Columns], factors: [Groups=1, Rows<=2]}]"
    with pytest.raises(SpecError, match=r"spad \(temporal\): expected a dimension among .*, found 'Groups'; did you mean 'Rows'"):
        constraint_of(text, {"Rows": 4, "Columns": 8, "Depth": 6})
