"""`compare`, `map_network`, `simulate` and `explain` say the same of the same question; rows, frames, files and pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hwloop
from hwloop.backend.request import request_for
from hwloop.errors import SpecError
from hwloop.memo import Memo
from hwloop.report.breakdown import rows_of
from hwloop.report.frames import csv_text, write_rows
from hwloop.run.comparison import compare
from hwloop.run.equal_area import scale_to_area
from hwloop.run.explain import explain
from hwloop.run.networks import map_network
from hwloop.run.simulation import simulate_layer
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.workload import Layer, Workload

SIZES = {"C": 4, "M": 8, "R": 3, "S": 3, "P": 6, "Q": 6}


def network(name: str = "small") -> Workload:
    problem = make_problem(conv2d_shape(), SIZES)
    other = make_problem(conv2d_shape(), {**SIZES, "M": 13})
    layers = (Layer("conv0", problem, "conv", "", "conv0.weight"), Layer("conv1", other, "conv", "", "conv1.weight"))
    return Workload(name, layers, (("conv0.weight", (8, 4, 3, 3)), ("conv1.weight", (13, 4, 3, 3))))


@pytest.fixture(scope="module")
def found():
    return compare(
        [network()], ["flexible_skipping", "eyeriss_168"], bits=[(8, 8), (4, 8)], densities=[(1.0, 1.0), (0.5, 0.8)],
        effort="quick", workers=1,
    )  # fmt: skip


def test_every_case_is_there_and_says_what_was_asked(found) -> None:
    rows = found.rows()
    assert len(rows) == 4 * (3 + 1)  # three dataflows on the flexible one, its own on the other
    keys = {(r["accelerator"], r["dataflow"], r["weight_bits"], r["weight_density"], r["input_density"]) for r in rows}
    assert len(keys) == len(rows)
    assert ("eyeriss_168", "its own", 4, 0.5, 0.8) in keys
    assert all(r["macs"] == network().computes for r in rows)


def test_the_same_question_has_the_same_answer_everywhere(found) -> None:
    for case in found:
        asked = case.asked
        again = map_network(
            network(), case.accelerator, None if case.dataflow == "its own" else case.dataflow, plan=asked.plan(network()),
            effort="quick", workers=1,
        )  # fmt: skip
        assert (again.energy_pj, again.cycles) == (case.cost.energy_pj, case.cost.cycles)
        opened = explain(case)
        assert opened.energy_pj == pytest.approx(case.cost.energy_pj, rel=1e-12)
        planned = asked.plan(network()).apply(network())
        for layer, share in zip(planned, case.cost.layers, strict=True):
            request = request_for(layer, case.target, asked.settings)
            cost = hwloop.simulate(request.problem, request.arch, share.mapped.mapping, request.ert, request.bits)
            assert cost == share.mapped.cost
            [(_, entries)] = explain(case, layer=share.name).parts
            assert sum(entry.energy_pj for entry in entries) == pytest.approx(share.energy_pj, rel=1e-12)
        parts = rows_of([case], "parts")
        assert sum(row["energy_pj"] for row in parts) == pytest.approx(case.cost.energy_pj)
        assert sum(row["energy_pj"] for row in rows_of([case], "layers")) == pytest.approx(case.cost.energy_pj)


def test_a_mapping_written_and_simulated_costs_what_the_mapper_said(tmp_path: Path) -> None:
    problem = make_problem(conv2d_shape(), SIZES, name="layer")
    arch = hwloop.load_architecture("eyeriss_168")
    best = hwloop.map_problem(problem, arch, hwloop.estimate_energy_table(arch), effort="quick")
    path = tmp_path / "mapping.yaml"
    path.write_text(best.mapping.to_yaml())
    again = simulate_layer(problem, "eyeriss_168", path)
    assert again.cost == best.cost
    assert sum(again.frame()["energy_pj"]) == pytest.approx(best.cost.energy_pj)


def test_a_bar_opens(found) -> None:
    [case] = [c for c in found if c.dataflow == "row_stationary" and c.asked.weight_bits == 4 and c.asked.weight_density == 1.0]
    bar = explain(case, level="DRAM", data_space="Weights")
    by_hand = {name: [e.accesses * e.instances * e.entry_pj for e in entries] for name, entries in bar.parts}
    assert sum(map(sum, by_hand.values())) == pytest.approx(
        sum(r["energy_pj"] for r in rows_of([case], "parts") if (r["component"], r["data_space"]) == ("DRAM", "Weights"))
    )
    assert "DRAM Weights" in str(bar)
    with pytest.raises(SpecError, match="did you mean 'shared_glb'"):
        explain(case, level="shared_gbl")
    with pytest.raises(SpecError, match="layer: expected one of 'conv0', 'conv1', found 'conv2'"):
        explain(case, layer="conv2")
    with pytest.raises(SpecError, match="data space: expected one of"):
        explain(case, data_space="Weight")


def test_notes_say_what_changes_nothing_and_why_there_is_a_jump() -> None:
    found = compare(network(), "flexible", "row_stationary", bits=[9, 8], densities=[0.5], effort="quick", workers=1)
    text = " ".join(str(found).split())
    assert "the density of weights changes nothing on flexible: no level gates, skips or codes zeros" in text
    assert "from 9 to 8 bits: 7 -> 8 values a row of 64 bits in DRAM, shared_glb; 1 -> 2 values a row of 16 bits in" in text
    nine, eight = found.cases
    for case, expected in ((nine, "1"), (eight, "2")):
        entries = explain(case, level="weights_spad", data_space="Weights").parts[0][1]
        assert [entry.words_per_row for entry in entries if entry.access == "read"] == [expected]
    gating = compare(network(), "eyeriss_168_gating", densities=[(0.5, 0.5)], effort="quick", workers=1)
    said = "the density of weights changes nothing on eyeriss_168_gating: only zeros of inputs are used"
    assert said in " ".join(str(gating).split())


def test_text_fits_eighty_columns_and_names_everything(found) -> None:
    text = str(found)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    for words in (
        "small, images of 4 x 8 x 8, batch 1: 2 layers",
        "168 MACs (14 x 12)",
        "mm^2",
        "bits",
        "density",
        "mapped for edp",
    ):
        assert words in text


def test_frames_and_files_hold_the_rows(found, tmp_path: Path) -> None:
    import pandas

    for kind in ("total", "layers", "parts"):
        rows, frame = found.rows(kind), found.frame(kind)
        assert frame.to_dict("records") == rows
        write_rows(rows, tmp_path / "rows.parquet")
        pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "rows.parquet"), frame)
        write_rows(rows, tmp_path / "rows.csv")
        assert (tmp_path / "rows.csv").read_text() == csv_text(rows)
        assert pandas.read_csv(tmp_path / "rows.csv")["energy_pj"].tolist() == pytest.approx(frame["energy_pj"].tolist())
        write_rows(rows, tmp_path / "rows.json")
        assert json.loads((tmp_path / "rows.json").read_text()) == rows
    with pytest.raises(SpecError, match=r"a name that ends in \.csv, \.json, \.parquet"):
        write_rows(rows, tmp_path / "rows.xlsx")


def test_pictures_are_drawn(found, tmp_path: Path) -> None:
    assert (found.plot(tmp_path / "total.png")).read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (found.plot(tmp_path / "layers.svg", "layers")).read_text()
    with pytest.raises(SpecError, match=r"a name that ends in \.png, \.svg, \.pdf"):
        found.plot(tmp_path / "x.gif")
    with pytest.raises(SpecError, match="kind: expected total or layers, found 'parts'"):
        found.plot(tmp_path / "x.png", "parts")


def test_a_memo_table_gives_the_same(found, tmp_path: Path) -> None:
    with Memo(tmp_path / "memo.sqlite") as memo:
        first = compare(network(), "eyeriss_168", effort="quick", workers=1, memo=memo)
    with Memo(tmp_path / "memo.sqlite") as memo:
        second = compare(network(), "eyeriss_168", effort="quick", workers=1, memo=memo)
        assert memo.statistics.misses == 0
    assert first.rows() == second.rows()


def test_accelerators_come_to_one_area_by_their_buffer() -> None:
    found = compare(network(), ["eyeriss_168", "flexible"], equal_area=True, effort="quick", workers=1)
    areas = [case.area_mm2 for case in found]
    assert max(areas) / min(areas) < 1.03
    assert found.cases[0].scaled == ""
    assert "shared_glb has" in found.cases[-1].scaled
    assert found.cases[-1].target.arch.level("shared_glb").depth != 16384
    small, changed = scale_to_area(hwloop.load_architecture("eyeriss_168"), 2.5)
    assert small.level("shared_glb").depth < 13824
    assert "in place of 13824" in changed
    with pytest.raises(SpecError, match=r"shared_glb.attributes.depth: expected a size of the buffer that leads to 0.1 mm"):
        scale_to_area(hwloop.load_architecture("eyeriss_168"), 0.1)
    with pytest.raises(SpecError, match="an energy source that follows sizes"):
        compare(network(), "eyeriss_168", equal_area=2.5, energy="table", effort="quick", workers=1)
    with pytest.raises(SpecError, match="an area above 0"):
        scale_to_area(hwloop.load_architecture("eyeriss_168"), -1)


def test_what_cannot_run_is_left_out_and_what_is_misspelt_is_refused() -> None:
    found = compare(network(), ["flexible", "tpu_like"], ["row_stationary"], effort="quick", workers=1)
    assert [case.accelerator for case in found] == ["flexible"]
    assert "tpu_like, row_stationary" in found.left_out
    with pytest.raises(SpecError, match="did you mean 'row_stationary'"):
        compare(network(), "flexible", ["row_stationery"], effort="quick", workers=1)
    with pytest.raises(SpecError, match="each accelerator once"):
        compare(network(), ["flexible", "flexible"], effort="quick", workers=1)
    with pytest.raises(SpecError, match="weight_density: expected a fraction between 0 and 1, found 2"):
        compare(network(), "flexible", densities=[2], effort="quick", workers=1)
    with pytest.raises(SpecError, match="at least one network"):
        compare([], "flexible")


def test_maps_that_stay_on_chip_open_to_the_same_sum() -> None:
    from hwloop.network.training.prepare import named_workload

    found = compare(named_workload("lenet5"), "eyeriss_168", activations="resident", effort="quick", workers=1)
    [case] = found.cases
    assert case.cost.resident
    assert explain(case).energy_pj == pytest.approx(case.cost.energy_pj, rel=1e-12)
