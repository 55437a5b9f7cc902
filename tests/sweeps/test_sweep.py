"""The sweep: the numbers of `map_network`, kept row by row, nonsense refused before anything is mapped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas
import pytest

import hwloop
from hwloop.backend.target import make_targets
from hwloop.energy import area_um2
from hwloop.errors import DataError, EnergyTableError, SpecError
from hwloop.run.sweeps.kept import ROWS, KeptRows
from hwloop.spec.workload import Workload

from ..backend.conftest import small_network

DEPTH = "shared_glb.attributes.depth"
FIELDS = {DEPTH: [2048, 16384], "PE_column.spatial.meshX+PE.spatial.meshY": [4, 16]}
FLOWS = ["row_stationary", "weight_stationary"]


def small_sweep(**changes):
    return hwloop.sweep(
        **{"networks": small_network(), "arch": "flexible", "fields": FIELDS, "dataflows": FLOWS, "effort": "quick", "workers": 1}
        | changes
    )


@pytest.fixture(scope="module")
def found():
    return small_sweep()


def test_every_row_is_what_map_network_says(found) -> None:
    assert len(found.rows) == 8
    for row in found.rows:
        arch = hwloop.load_architecture(changed_spec(dict(row.fields)))
        [target] = make_targets(arch, row.dataflow)
        cost = hwloop.map_network(small_network(), target, effort="quick", workers=1)
        assert (row.energy_pj, row.cycles, row.utilization) == (cost.energy_pj, cost.cycles, cost.utilization)
        assert row.component_energy_pj == cost.component_energy_pj
        assert row.area_um2 == area_um2(arch, hwloop.estimate_energy_table(arch))
        assert row.latency_s == pytest.approx(cost.cycles * 1e-9)


def changed_spec(fields) -> dict:
    """The shipped accelerator with other numbers, put there by hand."""
    from hwloop.spec.shipped import find_architecture
    from hwloop.spec.source import read_spec

    spec, _ = read_spec(find_architecture("flexible"))
    nodes = {node["name"]: node for node in spec["architecture"]["nodes"]}
    nodes["shared_glb"]["attributes"]["depth"] = fields[DEPTH]
    nodes["PE_column"]["spatial"]["meshX"] = fields["PE_column.spatial.meshX"]
    nodes["PE"]["spatial"]["meshY"] = fields["PE.spatial.meshY"]
    return spec


def test_the_shipped_accelerator_costs_what_compare_says() -> None:
    alone = small_sweep(fields=None)
    compared = hwloop.compare(small_network(), "flexible", FLOWS, effort="quick", workers=1).rows()
    assert [row.energy_pj for row in alone.rows] == [entry["energy_pj"] for entry in compared]
    assert [row.dataflow for row in alone.rows] == [entry["dataflow"] for entry in compared]


def test_energy_and_area_follow_the_fields(found) -> None:
    small, large = (next(r for r in found.rows if dict(r.fields)[DEPTH] == depth) for depth in (2048, 16384))
    assert small.area_um2 < large.area_um2
    few, many = found.rows[0], found.rows[2]
    assert dict(few.fields)["PE.spatial.meshY"] == 4
    assert dict(many.fields)["PE.spatial.meshY"] == 16
    assert many.cycles < few.cycles


def test_the_front_is_what_no_other_row_beats(found) -> None:
    def values(row):
        return (row.energy_pj, row.latency_s, row.area_um2)

    for row, kept in zip(found.rows, found.on_front, strict=True):
        beaten = any(
            all(a <= b for a, b in zip(values(o), values(row), strict=True)) and values(o) != values(row) for o in found.rows
        )
        assert kept is not beaten
    assert 0 < len(found.front) < len(found.rows)


def test_networks_bits_and_densities_are_swept_too() -> None:
    other = small_network()
    other = Workload("other", other.layers[:2], other.parameter_shapes[:2])
    found = small_sweep(
        networks=[small_network(), other],
        arch="flexible_skipping",
        fields=None,
        dataflows="row_stationary",
        weight_bits=[None, 8],
        density=[1.0, 0.3],
    )
    assert [row.question for row in found.rows] == [
        (net, bits, None, density, 1.0) for net in ("small", "other") for bits in (None, 8) for density in (1.0, 0.3)
    ]
    assert all(found.on_front)  # one accelerator: nothing to be beaten by
    dense, sparse = found.rows[0], found.rows[1]
    assert sparse.energy_pj < dense.energy_pj


def test_what_fits_no_mapping_is_a_row_with_the_reason() -> None:
    wide = hwloop.load_constraints([{"target": "psum_spad", "type": "temporal", "factors": ["M=8"]}])
    keeps = hwloop.load_constraints([{"target": "psum_spad", "type": "dataspace", "keep": ["Outputs"]}])
    found = small_sweep(fields={"psum_spad.attributes.depth": [4, 24]}, dataflows=wide.merged_with(keeps))
    unfit = [row for row in found.rows if row.energy_pj is None]
    assert unfit
    assert len(unfit) < len(found.rows)
    assert all(row.problem and not row.failed for row in unfit)
    assert not any(kept for row, kept in zip(found.rows, found.on_front, strict=True) if row in unfit)


def test_several_accelerators_share_the_fields() -> None:
    found = small_sweep(arch=["flexible", "eyeriss_168"], dataflows=None, fields={DEPTH: [8192, 16384]})
    assert [(row.design, row.arch) for row in found.rows] == [
        (1, "flexible"),
        (2, "flexible"),
        (3, "eyeriss_168"),
        (4, "eyeriss_168"),
    ]


def test_rows_are_kept_and_taken_up_again_and_new_values_are_added(tmp_path: Path, found) -> None:
    first = small_sweep(fields=FIELDS | {DEPTH: [2048]}, out=tmp_path)
    assert first.known == 0
    again = small_sweep(out=tmp_path)
    assert (again.known, len(again.rows)) == (4, 8)
    assert [row.energy_pj for row in again.rows] == [row.energy_pj for row in found.rows]
    assert small_sweep(out=tmp_path).known == 8
    assert small_sweep(out=tmp_path, seed=1).known == 0  # another question


def test_a_row_cut_short_is_asked_again_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    fields = {DEPTH: [2048, 16384]}
    whole = small_sweep(fields=fields, out=tmp_path)
    file = tmp_path / ROWS
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    again = small_sweep(fields=fields, out=tmp_path)
    assert again.known == 3
    assert [row.energy_pj for row in again.rows] == [row.energy_pj for row in whole.rows]
    lines = content.splitlines(keepends=True)
    damaged = [
        b"not json\n", b"[]\n", b"{}\n", lines[0].replace(b'"energy_pj":', b'"energy_pj":-', 1),
        lines[0].replace(b'"cycles":', b'"cycles":"x","x":', 1), lines[0].replace(b'"problem":""', b'"problem":"no"'),
        b"[" * 100_000 + b"\n",
    ]  # fmt: skip
    for line in damaged:
        assert line not in lines
        file.write_bytes(lines[1] + line + lines[2])
        with pytest.raises(DataError, match="line 2 is damaged"):
            KeptRows(file)


def test_two_sweeps_in_one_folder_do_not_mix(tmp_path: Path) -> None:
    code = (
        "import sys, time; from hwloop.search.run_folder import RunFolder\n"
        f"held = RunFolder({str(tmp_path)!r}, {{'kind': 'sweep'}}, {{}}, True); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with pytest.raises(DataError, match="another process is running in this folder"):
                small_sweep(out=tmp_path)
        finally:
            other.kill()


def test_a_sweep_that_is_killed_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    network = tmp_path / "net.yaml"
    network.write_text(small_network().to_yaml())
    fields = "{'shared_glb.attributes.depth': '1024..65536:*2', 'PE.spatial.meshY': [4, 8, 16]}"
    code = (
        "import sys, hwloop; from hwloop.run.sweeps import running; running._LEAST = running._OF_A_WORKER = 3\n"
        f"found = hwloop.sweep({str(network)!r}, 'flexible', {fields}, 'row_stationary', effort='quick', workers=1,"
        " out=sys.argv[1])\n"
        "print([row.energy_pj for row in found.rows], found.known)"
    )
    out = tmp_path / "killed"
    with subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE) as killed:
        deadline = time.monotonic() + 120
        while not (out / ROWS).exists() or (out / ROWS).read_bytes().count(b"\n") < 3:
            assert killed.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(killed.pid, signal.SIGKILL)
    kept = (out / ROWS).read_bytes().count(b"\n")
    told = [subprocess.run([sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=True).stdout
            for place in (out, tmp_path / "fresh")]  # fmt: skip
    numbers = [text.rsplit("]", 1)[0] for text in told]
    assert numbers[0] == numbers[1]
    assert int(told[0].rsplit("]", 1)[1]) >= min(kept, 3)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"fields": {"shared_glb.attributes.dept": [1]}}, SpecError, r"did you mean shared_glb\.attributes\.depth"),
        ({"fields": {DEPTH: []}}, SpecError, r"at least one value"),
        ({"fields": {DEPTH: ["many"]}}, SpecError, r"expected a number"),
        ({"fields": {DEPTH: [16384, -4]}}, SpecError, r"flexible with shared_glb\.attributes\.depth=-4: arch"),
        ({"fields": {DEPTH: [10**12]}}, EnergyTableError, r"flexible with shared_glb\.attributes\.depth=1"),
        ({"fields": {"DRAM.attributes.type": ["LPDDR4", "HBM9"]}}, EnergyTableError, r"with DRAM\.attributes\.type=HBM9"),
        ({"fields": {"flexible.attributes.technology": ["45nm", "'45nm'"]}}, SpecError, r"are the same to it"),
        ({"arch": ["flexible", "flexible"]}, SpecError, r"accelerators of different names"),
        ({"arch": ["flexible", "tpu_like"]}, SpecError, r"a field of tpu_like"),
        ({"arch": []}, SpecError, r"at least one"),
        ({"networks": []}, SpecError, r"at least one"),
        ({"density": [0.5, 0.5]}, SpecError, r"each once"),
        ({"density": []}, SpecError, r"each once"),
        ({"density": [1.5]}, SpecError, r"density"),
        ({"weight_bits": [0]}, SpecError, r"weight_bits"),
        ({"weight_bits": ["x"]}, SpecError, r"weight_bits"),
        ({"effort": "hard"}, SpecError, r"effort"),
        ({"activations": "nowhere"}, SpecError, r"activations"),
        ({"objective": max}, SpecError, r"a function has no name"),
        ({"dataflows": "sideways"}, SpecError, r"sideways"),
        ({"points": [{"PE.spatial.meshY": 4}]}, SpecError, r"each field on one axis"),
        ({"fields": {DEPTH: "1..100000", "weights_spad.attributes.depth": "1..100000"}}, SpecError, r"at most 1,000,000 rows"),
        ({"energy": "table"}, EnergyTableError, r"a fixed table: it does not follow shared_glb\.attributes\.depth"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_before_anything_is_mapped(changes, error, words: str, monkeypatch) -> None:
    monkeypatch.setattr("hwloop.backend.embedded.map_problem", lambda *_args, **_kwargs: pytest.fail("something was mapped"))
    with pytest.raises(error, match=words):
        small_sweep(**changes)


def test_a_fixed_table_serves_meshes_and_bandwidths() -> None:
    fields = {"PE.spatial.meshY": [8, 16], "DRAM.attributes.read_bandwidth": [6.4, 12.8]}
    assert len(small_sweep(fields=fields, energy="table", dataflows=FLOWS[0]).rows) == 4


def test_a_failed_row_is_not_kept(tmp_path: Path, monkeypatch) -> None:
    from hwloop.backend.cluster import LostTasks
    from hwloop.backend.embedded import Embedded

    whole = Embedded.map

    def one_is_lost(self, requests, on_outcome=None):
        left = [r for r in requests if r.layer != "conv0" or r.arch.level("shared_glb").depth != 2048]
        places = {id(request): at for at, request in enumerate(requests)}
        whole(self, left, lambda _at, request, outcome: on_outcome(places[id(request)], request, outcome))
        lost = [r for r in requests if r not in left]
        if lost:
            raise LostTasks("no answer for small conv0: 3 workers died at it", lost)

    monkeypatch.setattr(Embedded, "map", one_is_lost)
    found = small_sweep(out=tmp_path)
    assert [row.failed for row in found.rows] == [True] * 4 + [False] * 4
    assert "conv0" in found.rows[0].problem
    monkeypatch.undo()
    again = small_sweep(out=tmp_path)
    assert (again.known, [row.failed for row in again.rows]) == (4, [False] * 8)


def test_frames_and_files(tmp_path: Path, found) -> None:
    frame = found.frame()
    assert len(frame) == 8
    assert frame["pareto"].tolist() == list(found.on_front)
    assert frame["energy_pj"].tolist() == [row.energy_pj for row in found.rows]
    parts = [name for name in frame.columns if name.startswith("energy_pj.")]
    assert frame[parts].sum(axis=1).tolist() == pytest.approx(frame["energy_pj"].tolist())
    for ending, read in (("csv", pandas.read_csv), ("parquet", pandas.read_parquet), ("json", pandas.read_json)):
        found.write(tmp_path / f"rows.{ending}")
        assert read(tmp_path / f"rows.{ending}")["energy_pj"].tolist() == pytest.approx(frame["energy_pj"].tolist(), rel=1e-14)
    with pytest.raises(SpecError, match=r"ends in \.csv, \.json, \.parquet"):
        found.write(tmp_path / "rows.xls")
