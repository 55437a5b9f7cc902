from __future__ import annotations

import pytest

from hwloop.report.paper import energy_rows, size_rows
from hwloop.report.result import Front, Member
from hwloop.spec.plan import Plan


def member(accuracy: float, energy: float, size: float, test: float | None = None) -> Member:
    metrics = {"accuracy": accuracy, "energy_pj": energy, "size_bits": size, "cycles": 10.0, "edp": 10 * energy, "macs": 1.0}
    sizes = {"normal": size, "csr": size / 2, "coo": size * 2}
    return Member(Plan(), 0.5, metrics, metrics, test_accuracy=test, sizes=sizes)


def front(target: str, *members: Member) -> Front:
    reference = member(0.95, 100.0, 3200.0, 0.94)
    return Front(target, ("accuracy", "energy_pj"), (True, False), reference, members, plain_energy_pj=150.0)


# the second is within 0.3 points of validation accuracy, the third of the test set alone
MEMBERS = (member(0.951, 50.0, 1600.0, 0.941), member(0.9475, 20.0, 800.0, 0.93), member(0.93, 5.0, 400.0, 0.9375))


def test_energy_is_chosen_on_validation_and_by_the_test_set() -> None:
    rows = {row.what: row for row in energy_rows([front("xy", *MEMBERS)])}
    assert list(rows) == ["X:Y", "CI:CO", "FX:FY", "X:FX"]
    assert [row.published for row in rows.values()] == [14.0, 12.2, 10.4, 8.9]
    chosen, by_test = rows["X:Y"].chosen, rows["X:Y"].by_test
    assert chosen is not None
    assert by_test is not None
    assert (chosen.member, chosen.factor, chosen.plain_factor) == (2, 5.0, 7.5)
    assert chosen.accuracy == (0.95, 0.9475)
    assert chosen.test_accuracy == (0.94, 0.93)
    assert (by_test.member, by_test.factor) == (3, 20.0)
    assert rows["X:FX"].target == ""
    assert rows["X:FX"].chosen is None


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("xy", "X:Y"),
        ("flexible_skipping cico", "CI:CO"),
        ("weight_stationary", "CI:CO"),
        ("xfx", "X:FX"),
        ("eyeriss_168_skipping", "X:FX"),
        ("tpu_like", "CI:CO"),
        ("shidiannao_like_gating", "X:Y"),
        ("eyeriss_168 fxfy", "FX:FY"),
    ],
)
def test_targets_are_found_by_their_dataflow(target: str, what: str) -> None:
    assert [row.what for row in energy_rows([front(target, *MEMBERS)]) if row.target] == [what]


def test_nobody_close_enough_is_said() -> None:
    row = energy_rows([front("xy", member(0.5, 1.0, 1.0, 0.5))])[0]
    assert (row.target, row.chosen, row.by_test) == ("xy", None, None)


def test_sizes_are_those_of_the_front_with_the_smallest_network() -> None:
    rows = {row.what: row for row in size_rows([front("xy", MEMBERS[0]), front("cico", *MEMBERS)])}
    assert [row.published for row in rows.values()] == [6.1, 7.4, 2.4]
    for coding, part in (("normal", 1.0), ("csr", 0.5), ("coo", 2.0)):
        row = rows[coding]
        assert row.target == "cico"
        assert row.chosen is not None
        assert row.chosen.factor == pytest.approx(3200 * part / (800 * part))
        assert row.chosen.plain_factor is None


def test_fronts_that_counted_no_sizes_have_none() -> None:
    bare = Member(Plan(), 0.5, MEMBERS[0].metrics, MEMBERS[0].metrics)
    assert [row.chosen for row in size_rows([front("xy", bare)])] == [None] * 3
