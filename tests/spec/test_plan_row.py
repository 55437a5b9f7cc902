from __future__ import annotations

import csv
from io import StringIO

import pytest
from hypothesis import given

from hwloop.errors import SpecError
from hwloop.spec.density import Density
from hwloop.spec.plan import LayerPlan, Plan
from hwloop.spec.plan_row import plan_row, read_plan_row
from hwloop.spec.pruning import BlockPattern

from .plans import plans


def test_a_row_has_a_column_for_everything_that_is_said() -> None:
    share = LayerPlan(BlockPattern(2, 4), 0.5, 4, channels=(0, 2), rank=(3, 2))
    row = plan_row(Plan((("conv1", share), ("fc", LayerPlan(removed=True))), "p=0.7"))
    assert row == {
        "base": "p=0.7", "weight_density:conv1": "2:4", "input_density:conv1": 0.5, "weight_bits:conv1": 4,
        "channels:conv1": "[0, 2]", "rank:conv1": "[3, 2]", "removed:fc": "true",
    }  # fmt: skip


@given(plans)
def test_rows_and_csv_bring_a_plan_back(plan: Plan) -> None:
    row = plan_row(plan)
    assert read_plan_row(row | {"energy_pj": 3.0, "target": "x"}) == plan
    text = StringIO()
    writer = csv.DictWriter(text, [*row, "weight_bits:other"])
    writer.writeheader()
    writer.writerow(row)
    [again] = csv.DictReader(StringIO(text.getvalue()))
    assert read_plan_row(again) == plan


def test_a_block_stays_a_block() -> None:
    plan = Plan((("a", LayerPlan(Density("banded", 0.5, 2))),))
    assert read_plan_row(plan_row(plan)) == plan


def test_a_wrong_cell_is_named() -> None:
    with pytest.raises(SpecError, match=r"<row>: layers\.a\.weight_bits: expected a whole number from 1 to 64, found 'few'"):
        read_plan_row({"weight_bits:a": "few"})
