from __future__ import annotations

import numpy as np
import pytest

from hwloop.errors import SpecError
from hwloop.search.genotype import Genotype


def test_decode_reads_p_then_weight_bits_then_activation_bits() -> None:
    space = Genotype((0.0, 0.5, 0.9), ("conv", "fc"), (2, 16), (4, 8))
    candidate = space.decode([1, 3, 16, 4, 8])
    assert (candidate.p, candidate.weight_bits, candidate.activation_bits) == (0.5, {"conv": 3, "fc": 16}, {"conv": 4, "fc": 8})
    assert space.variable_names() == ("p", "q:conv", "q:fc", "a:conv", "a:fc")
    assert space.groups == ((0, 1), (1, 3), (3, 5))
    assert space.n_var == len(space.lower) == len(space.upper) == 5


def test_fixed_and_absent_activation_bits_are_no_variables() -> None:
    fixed = Genotype((0.0,), ("a", "b"), (2, 8), 8)
    assert fixed.n_var == 3
    assert fixed.decode([0, 2, 8]).activation_bits == {"a": 8, "b": 8}
    assert Genotype((0.0,), ("a", "b")).decode([0, 2, 8]).activation_bits == {}


def test_anchors_lie_in_the_space_and_hold_the_corners() -> None:
    space = Genotype(tuple(i / 20 for i in range(20)), ("a", "b", "c"), (2, 16))
    anchors = space.anchors()
    assert (anchors >= space.lower).all()
    assert (anchors <= space.upper).all()
    assert len(np.unique(anchors, axis=0)) == len(anchors)
    corners = {(0, 16, 16, 16), (19, 2, 2, 2), (0, 2, 2, 2), (19, 16, 16, 16)}
    assert corners <= {tuple(row) for row in anchors[:4].tolist()}


@pytest.mark.parametrize("x", [[3, 2, 2], [0, 1, 2], [0, 2], [-1, 2, 2]])
def test_decode_refuses_what_is_outside(x: list[int]) -> None:
    with pytest.raises(ValueError, match="expected 3 whole numbers"):
        Genotype((0.0, 0.5, 0.9), ("a", "b")).decode(x)


def test_a_space_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(SpecError, match=r"weight_bits: expected \(least, most\)"):
        Genotype((0.0,), ("a",), (8, 4))
    with pytest.raises(SpecError, match="rising and distinct"):
        Genotype((0.5, 0.1), ("a",))
    with pytest.raises(SpecError, match="at least one layer"):
        Genotype((0.5,), ())
