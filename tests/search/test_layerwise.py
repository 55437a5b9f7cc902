"""The layer-wise space beyond the contract of all spaces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwloop.errors import SpecError
from hwloop.search.space import SPACES, Choices, find_space
from hwloop.search.spaces.layerwise import Layerwise
from hwloop.search.units import UnitSpace, base_columns, base_rows, canonical, severities
from hwloop.spec.channels import ChannelGroup
from hwloop.spec.plan import LayerPlan
from hwloop.spec.pruning import BlockPattern

from .toys import choices, workload

LADDER = "0.3,0.5,0.7,2:4"  # positions 0 to 4: 0, 0.3, 0.5, 2:4, 0.7


def space(**options: str) -> Layerwise:
    return Layerwise(Choices(workload(), ("a", "b", "c"), (0.0, 0.5), (2, 9), (4, 8)), **{"amounts": LADDER, **options})


def test_a_row_is_the_base_then_pruning_then_bits() -> None:
    plan = space().plan([1, 4, 1, 3, 2, 5, 9, 4, 6, 8])
    assert plan.base == "p=0.5"
    assert plan.of("a") == LayerPlan(0.3, weight_bits=2, activation_bits=4)
    assert plan.of("b") == LayerPlan(1.0, weight_bits=5, activation_bits=6), "the base has more pruned already"
    assert plan.of("c") == plan.of("c#2") == LayerPlan(BlockPattern(2, 4), weight_bits=9, activation_bits=8)
    assert space().names[:4] == ("base", "pruning:a", "pruning:b", "pruning:c")
    assert space().groups == ((0, 1), (1, 4), (4, 7), (7, 10))


def test_rows_with_one_plan_have_one_canonical_row() -> None:
    tested = space()
    rows = np.array([[1, 0, 1, 2, 2, 5, 9, 4, 6, 8], [1, 0, 0, 0, 2, 5, 9, 4, 6, 8], [0, 0, 1, 2, 2, 5, 9, 4, 6, 8]])
    found = canonical(tested, rows)
    assert found[0].tolist() == found[1].tolist() == rows[1].tolist()
    assert found[2].tolist() == rows[2].tolist(), "the trained network has nothing pruned"


def test_filters_are_kept_in_whole_groups_and_blocks() -> None:
    groups = (ChannelGroup("a", 4, ("a",), (("b", 0, 1),)), ChannelGroup("b", 4, ("b",), (("c", 0, 1), ("c#2", 0, 1)), 2),
              ChannelGroup("c", 4, ("c", "c#2"), (), fixed="outputs of the network"))  # fmt: skip
    network = replace(workload(), channels=groups)
    tested = Layerwise(Choices(network, ("a", "b", "c"), (0.0,), (8, 8)), "0.5", "0.1:0.9:0.2")
    assert tested.names[7:] == ("filters:a", "filters:b"), "what is fixed stays"
    assert tested.upper[7:].tolist() == [3, 1], "4, 3, 2, 1 channels; 4 or 2 of two blocks"
    plan = tested.plan([0, 0, 0, 0, 8, 8, 8, 2, 1])
    assert (plan.of("a").channels, plan.of("b").channels, plan.of("c").channels) == (2, 2, None)
    assert tested.row(plan) == (0, 0, 0, 0, 8, 8, 8, 2, 1)
    assert [layer.problem.sizes["M"] for layer in plan.apply(network)] == [2, 2, 4, 4]
    assert tested.units[-1].layers == (), "other layers' costs change, too"


@pytest.mark.parametrize("name", list(SPACES))
def test_units_cover_every_column_but_the_base_s_and_the_mildest_row_is_at_the_ends(name: str) -> None:
    tested = find_space(name, replace(choices(), activation_bits=(3, 8)))
    assert isinstance(tested, UnitSpace)
    columns = sorted(column for unit in tested.units for column in unit.columns)
    assert columns == list(range(1, len(tested.names)))
    assert base_columns(tested) == (0,)
    assert ((tested.mildest == tested.lower) | (tested.mildest == tested.upper)).all()
    for column in columns:
        values = severities(tested, column)
        assert values[0] == tested.mildest[column]
        assert sorted(values.tolist()) == list(range(int(tested.lower[column]), int(tested.upper[column]) + 1))
    assert base_rows(tested)[:, 0].tolist() == list(range(10))
    assert (base_rows(tested)[:, 1:] == tested.mildest[1:]).all()


def test_a_ladder_that_makes_no_sense_is_refused_when_the_space_is_made() -> None:
    with pytest.raises(SpecError, match=r"space option amounts: expected amounts such as 0\.5"):
        find_space("layerwise", choices(), {"amounts": "much"})
    with pytest.raises(SpecError, match="space option filters: expected"):
        find_space("layerwise", choices(), {"filters": "2:4"})
