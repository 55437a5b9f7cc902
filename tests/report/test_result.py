from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hwloop.errors import DataError
from hwloop.report.plots import plot_fronts
from hwloop.report.result import Front, Member, front_document, member_row, read_front
from hwloop.report.tables import bits_text, energy_text, front_table, gap_text, metric_text, percent, size_text, table, verdict
from hwloop.spec.plan import LayerPlan, Plan
from hwloop.spec.plan_row import read_plan_row


def member(accuracy: float, energy_pj: float, p: float = 0.5, bits: tuple[int, ...] = (4, 6)) -> Member:
    metrics = {
        "accuracy": accuracy, "energy_pj": energy_pj, "cycles": 100.0, "edp": 100 * energy_pj, "size_bits": 8e3 * energy_pj,
        "macs": 1e6,
    }  # fmt: skip
    shares = tuple((name, LayerPlan(1 - p, 0.5, width, 8)) for name, width in zip(("conv", "fc"), bits, strict=True))
    plan = Plan((*shares, ("fc#2", shares[1][1])), f"p={p:g}" if p else "")
    return Member(plan, p, metrics, metrics | {"energy_pj": energy_pj * 1.25}, "", accuracy - 0.01)


@pytest.fixture
def front() -> Front:
    members = (member(0.990, 60.0), member(0.988, 20.0), member(0.9, 10.0), member(0.5, 9.0))
    reference = member(0.99, 100.0, 0.0, (16, 16))
    cloud = tuple(m.metrics for m in members)
    return Front("toy", ("accuracy", "energy_pj"), (True, False), reference, members, cloud, (0.2, 0.5))


def test_best_within_is_the_least_energy_that_keeps_the_accuracy(front: Front) -> None:
    best = front.best_within(0.003)
    assert best is front.members[1]
    assert front.factor(best) == pytest.approx(5.0)
    assert front.best_within(0.0) is front.members[0]
    assert front.best_within(0.2) is front.members[2]
    assert replace(front, members=front.members[3:]).best_within() is None


def test_knee_and_hypervolume(front: Front) -> None:
    assert front.knee() in (front.members[1], front.members[2])
    assert replace(front, members=()).knee() is None
    assert 0 < front.hypervolume() <= 1
    assert replace(front, members=()).hypervolume() == 0.0


def test_gap_is_what_full_mapping_saves(front: Front) -> None:
    assert front.members[0].gap == pytest.approx(0.2)
    assert (
        gap_text(front)
        == "toy: the final mapping of the front needs 20.00% less energy than the search estimated (at most 20.00%)"
    )


def test_rows_and_documents_hold_the_numbers(front: Front) -> None:
    row = member_row(front, front.members[1])
    columns = ("target", "base", "weight_bits:conv", "activation_bits:fc", "energy_factor")
    assert [row[column] for column in columns] == ["toy", "p=0.5", 4, 8, pytest.approx(5.0)]
    assert read_plan_row(row) == front.members[1].plan
    document = front_document(front)
    assert document["best_within_0.3_points"] == 1
    assert document["energy_factor_within_0.3_points"] == pytest.approx(5.0)
    assert document["members"][document["knee"]]["metrics"] == front.knee().metrics  # type: ignore[union-attr]


def test_a_front_comes_back_from_its_document_without_the_cloud(front: Front) -> None:
    again = read_front(json.loads(json.dumps(front_document(front))))
    assert again == replace(front, cloud=())
    with pytest.raises(DataError, match=r"not an entry of a front\.json: 'hypervolumes'"):
        read_front({k: v for k, v in front_document(front).items() if k != "hypervolumes"})
    with pytest.raises(DataError, match=r"weight_bits"):
        read_front(front_document(front) | {"reference": {"plan": {"layers": {"a": {"weight_bits": 0}}}}})


def test_a_layer_called_twice_counts_once_among_the_bits(front: Front) -> None:
    assert front.members[0].weight_bits == {"conv": 4, "fc": 6}
    assert front.members[0].mean_bits == 5.0
    assert replace(front.members[0], plan=Plan()).mean_bits == 0.0


@pytest.mark.parametrize(
    ("energy_pj", "text"), [(0.5, "0.50 pJ"), (999.0, "999 pJ"), (1234.0, "1.23 nJ"), (2.5e6, "2.50 uJ"), (3e9, "3.00 mJ")]
)
def test_energy_text(energy_pj: float, text: str) -> None:
    assert energy_text(energy_pj) == text


def test_texts() -> None:
    assert size_text(8 * 12_345) == "12.3 kB"
    assert size_text(80) == "10 B"
    assert percent(None) == "-"
    assert metric_text("cycles", 1230) == "1.23 k cycles"
    assert metric_text("size_bits", 80) == "10 B"
    assert percent(0.975) == "97.50%"
    assert bits_text({"a": 4, "b": 4}) == "4"
    assert bits_text({"a": 4, "b": 5}) == "4 5"
    assert table([("a", "1"), ("bb", "22")], ("name", "n")) == "name   n\n----  --\na      1\nbb    22"


def test_front_table_marks_knee_and_best_and_keeps_them_when_shortened(front: Front) -> None:
    text = front_table(front)
    assert "dense" in text.splitlines()[2]
    assert any(line.startswith(("*+", "+")) and "5.0x" in line for line in text.splitlines())
    assert any(line.startswith(("*+", "+")) for line in front_table(front, most=2).splitlines())


def test_verdict_says_what_is_gained_or_that_nothing_is(front: Front) -> None:
    assert "5.0x less energy" in verdict(front)
    assert "test accuracy 98.00% -> 97.80%" in verdict(front)
    assert "no member" in verdict(replace(front, members=front.members[3:]))
    slower = replace(front.members[1], metrics={**front.members[1].metrics, "cycles": 200.0})
    assert "5.0x less energy, 2.0x more cycles" in verdict(replace(front, members=(slower,)))


def test_a_reference_that_knew_the_validation_images_is_named(front: Front) -> None:
    assert "trained on them" not in verdict(front)
    knew = replace(front, reference=replace(front.reference, test_accuracy=0.90))
    assert knew.seen_validation
    assert "probably trained on them, so compare by the test set" in verdict(knew)
    assert knew.best_by_test() is front.members[1]
    assert front_document(knew)["reference_has_seen_validation"]
    assert front_document(knew)["energy_factor_within_0.3_points_of_test"] == pytest.approx(5.0)
    unread = replace(front, reference=replace(front.reference, test_accuracy=None))
    assert unread.best_by_test() is None


def test_plot_is_a_picture_and_a_bad_place_is_named(front: Front, tmp_path: Path) -> None:
    path = plot_fronts([front, replace(front, target="other")], tmp_path / "new" / "front.png", "toy")
    assert path.read_bytes().startswith(b"\x89PNG")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write the plot"):
        plot_fronts([front], tmp_path / "file" / "front.png")


def test_plot_takes_other_objectives(front: Front, tmp_path: Path) -> None:
    other = replace(front, objectives=("energy_pj", "cycles", "size_bits"), maximised=(False, False, False))
    assert plot_fronts([other], tmp_path / "front.svg").read_text().startswith("<?xml")
