"""Sparse optimisations: what the real parser takes is taken, written back and read again; the rest is refused by field."""

from __future__ import annotations

from typing import Any

import pytest

from hwloop import SpecError
from hwloop.spec.document import Fields
from hwloop.spec.sparsity import ActionOptimization, ActionOption, RankFormat, SparseOptimizations, read_sparse_optimizations


def read(document: dict[str, Any]) -> SparseOptimizations:
    return read_sparse_optimizations(Fields(document, "a.yaml", "sparse_optimizations"))


def formats(*ranks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"representation_format": {"data_spaces": [{"name": "Weights", "ranks": list(ranks), **more}]}}


WHOLE: dict[str, Any] = {
    **formats(
        {"format": "UOP", "payload_word_bits": 8},
        {"format": "cp", "metadata_word_bits": 4, "flattened_rankIDs": [["C", "M"], ["R"]]},
        rank_application_order="inner_to_outer",
    ),
    "action_optimization": [
        {"type": "gating", "options": [{"target": "Weights", "condition_on": ["Inputs"]}]},
        {"type": "skipping_spatial", "target": "Inputs", "condition_on": ["Weights"]},
    ],
    "compute_optimization": [{"type": "gate_on_zero_operand"}, {"type": "skipping"}],
}


def test_everything_is_read() -> None:
    found = read(WHOLE)
    (form,) = found.representation
    assert form.data_space == "Weights"
    assert form.rank_application_order == "inner_to_outer"
    assert form.ranks == (RankFormat("UOP", None, 8), RankFormat("CP", 4, None, (("C", "M"), ("R",))))
    assert found.actions == (
        ActionOptimization("gating", (ActionOption("Weights", ("Inputs",)),)),
        ActionOptimization("skipping_spatial", (ActionOption("Inputs", ("Weights",)),)),
    )
    assert found.compute == ("gating", "skipping")
    assert found


def test_what_is_written_is_read_back() -> None:
    found = read(WHOLE)
    assert read(found.to_dict()) == found
    assert hash(read(found.to_dict())) == hash(found)


def test_options_of_one_action_stay_together() -> None:
    options = [{"target": "Weights", "condition_on": ["Inputs"]}, {"target": "Inputs", "condition_on": ["Weights"]}]
    (action,) = read({"action_optimization": [{"type": "skipping", "options": options}]}).actions
    assert [option.target for option in action.options] == ["Weights", "Inputs"]


def test_ranks_are_assigned_outer_to_inner_unless_the_spec_says_otherwise() -> None:
    (form,) = read(formats({"format": "CP"})).representation
    assert form.rank_application_order == "outer_to_inner"
    assert "rank_application_order" not in read(formats({"format": "CP"})).to_dict()["representation_format"]["data_spaces"][0]


def test_a_data_space_of_uncompressed_ranks_has_no_format() -> None:
    assert not read(formats({"format": "uncompressed"}, {"format": "U"}))


def test_an_empty_block_is_a_dense_level() -> None:
    assert not read({})
    assert read({}).to_dict() == {}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (formats({"format": "CSR"}), r"data_spaces\[0\]\.ranks\[0\]\.format: expected one of .*UOP.*found 'CSR'"),
        (formats({"format": "CP"}, {"format": "U"}), r"ranks\[1\]\.format: .*leave the data space out"),
        (formats({"format": "CP", "word_bits": 4}), r"ranks\[0\]\.word_bits: expected a known field"),
        (formats(), r"data_spaces\[0\]\.ranks: expected at least one rank"),
        (formats({"format": "CP"}, rank_application_order="sideways"), r"rank_application_order: expected one of"),
        (formats({"format": "CP", "flattened_rankIDs": ["C"]}), r"flattened_rankIDs: expected a list of lists"),
        ({"action_optimization": [{"type": "pausing", "options": []}]}, r"action_optimization\[0\]\.type: expected one of"),
        ({"action_optimization": [{"type": "gating", "options": []}]}, r"options: expected at least one target"),
        ({"action_optimization": [{"type": "gating", "target": "W"}]}, r"condition_on: expected a list of data spaces"),
        ({"action_optimization": {"type": "gating"}}, r"action_optimization: expected a list"),
        ({"compute_optimization": [{"type": "resting"}]}, r"compute_optimization\[0\]\.type: expected gating or skipping"),
        ({"action_optimisation": []}, r"action_optimisation: expected a known field.*did you mean 'action_optimization'"),
    ],
)
def test_what_the_parser_does_not_know_is_refused(document: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read(document)
