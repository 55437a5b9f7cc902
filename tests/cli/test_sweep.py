"""`hwloop sweep` and `hwloop codesign` from a shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwloop.cli.main import main
from hwloop.errors import SpecError
from hwloop.run.sweeps.file import read_sweep_file

from ..backend.conftest import small_network

DEPTH = "shared_glb.attributes.depth"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "network.yaml"
    path.write_text(small_network().to_yaml())
    return path


def sweep(network: Path, *more: str) -> list[str]:
    return ["sweep", "--workload", str(network), "--arch", "flexible", "--effort", "quick", "--workers", "1", "--quiet", *more]


def test_the_same_numbers_as_map_and_compare(network: Path, capsys) -> None:
    same = ["--workload", str(network), "--arch", "flexible", "--effort", "quick", "--workers", "1", "--quiet", "--json"]
    flows = ["--dataflow", "row_stationary", "--dataflow", "weight_stationary"]
    assert main(["sweep", *flows, *same]) == 0
    swept = {row["dataflow"]: row["energy_pj"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert main(["compare", *flows, *same]) == 0
    compared = {entry["dataflow"]: entry["energy_pj"] for entry in json.loads(capsys.readouterr().out)["dataflows"]}
    assert swept == compared


def test_a_table_fits_eighty_columns_and_says_what_it_holds_for(network: Path, capsys) -> None:
    fields = [f"{DEPTH}=2048,16384", "PE_column.spatial.meshX+PE.spatial.meshY=4,16"]
    assert main(sweep(network, *fields, "--dataflow", "row_stationary")) == 0
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "sweep: 4 accelerators (flexible) x 1 dataflows (row_stationary), 4 rows" in text
    for words in (
        f"depth: {DEPTH}",
        "effort quick",
        "estimated anew for every accelerator",
        "small, bits of the accelerator, dense",
    ):
        assert words in " ".join(text.split())
    assert main(sweep(network, *fields, "--dataflow", "row_stationary", "--all")) == 0
    everything = capsys.readouterr().out
    assert "all rows" in everything
    assert len(everything.splitlines()) > len(text.splitlines())


def test_many_fields_stand_under_the_table(network: Path, capsys) -> None:
    fields = [
        f"{DEPTH}=2048,16384", "PE_column.spatial.meshX=4,16", "PE.spatial.meshY=4,16", "weights_spad.attributes.depth=128,224",
        "ifmap_spad.attributes.depth=12,24", "DRAM.attributes.read_bandwidth=6.4,12.8",
    ]  # fmt: skip
    assert main(sweep(network, *fields[:1], "--dataflow", "row_stationary", "--density", "0.5,1")) == 0
    assert "density of weights 0.5" in capsys.readouterr().out
    from hwloop.report.sweep_tables import sweep_text
    from hwloop.report.sweeps import SweepResult, SweepRow

    paths = [field.partition("=")[0] for field in fields]
    rows = tuple(
        SweepRow("b", at, "flexible", tuple((path, 1000 + at) for path in paths), f"flow{at % 2}", "net", None, None, 1.0, 1.0,
                 1e6 + at, 1e9 - at, 1000, 1e-6, 0.5)
        for at in range(60)
    )  # fmt: skip
    text = sweep_text(SweepResult(rows, ("said",), tuple(paths)))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "20 shown" in text
    assert "#20:" in text


def test_files_and_a_second_run_from_the_folder(network: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "sweep"
    argv = sweep(network, f"{DEPTH}=2048,16384", "--out", str(out), "--save", str(tmp_path / "rows.csv"), "--dataflow",
                 "row_stationary", "--save", str(tmp_path / "rows.svg"), "--memo", str(tmp_path / "memo.sqlite"))  # fmt: skip
    assert main(argv) == 0
    first = capsys.readouterr().out
    assert {"sweep.csv", "sweep.json", "sweep.png"} <= {path.name for path in out.iterdir()}
    assert (tmp_path / "rows.csv").read_text() == (out / "sweep.csv").read_text()
    assert (tmp_path / "rows.svg").read_text().startswith("<?xml")
    assert main(argv) == 0
    assert capsys.readouterr().out == first


def test_a_file_says_what_a_line_cannot_hold(network: Path, tmp_path: Path, capsys) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "sweep:\n  networks: [{workload: network.yaml}]\n  archs: flexible\n  dataflows: [row_stationary]\n  effort: quick\n"
        f"  fields: {{{DEPTH}: [2048, 16384]}}\n"
        "  points:\n  - {PE.spatial.meshY: 4, PE_column.spatial.meshX: 16}\n"
        "  - {PE.spatial.meshY: 16, PE_column.spatial.meshX: 4}\n"
    )
    assert main(["sweep", "--file", str(file), "--workers", "1", "--quiet", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row[DEPTH], row["PE.spatial.meshY"], row["PE_column.spatial.meshX"]) for row in rows] == [
        (2048, 4, 16), (2048, 16, 4), (16384, 4, 16), (16384, 16, 4)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fields: [1]", "fields"),
        ("feilds: {}", "did you mean 'fields'"),
        ("networks: [{modle: lenet5}]", r"networks\[0\]"),
        ("networks: [3]", r"networks\[0\]"),
        ("points: {}", "a list"),
        ("archs: 3", "a name, or a list of names"),
        ("seed: x", "seed"),
        ("fields: {a.b: [1}", "line 1"),
        ("[]", "mapping"),
    ],
)
def test_broken_files_are_said(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=words):
        read_sweep_file(file)


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["shared_glb.attributes.dept=1,2"], 2, "did you mean shared_glb.attributes.depth?"),
        (["shared_glb.attributes.depth="], 2, "expected values"),
        (["shared_glb.attributes.depth"], 2, "FIELD=VALUES"),
        (["shared_glb.attributes.depth=many"], 2, "expected a number"),
        (["shared_glb.attributes.depth=-4"], 1, "flexible with shared_glb.attributes.depth=-4"),
        ([f"{DEPTH}=2048", "--save", "rows.xls"], 2, "ends in .csv"),
        ([f"{DEPTH}=2048", "--file", "nowhere.yaml"], 1, "nowhere.yaml"),
        ([f"{DEPTH}=2048", "--density", "2"], 1, "density"),
        ([f"{DEPTH}=2048", "--out", "/dev/null"], 2, "--out"),
    ],
)
def test_bad_usage_is_said_before_anything_runs(network: Path, capsys, monkeypatch, more, code: int, words: str) -> None:
    monkeypatch.setattr("hwloop.backend.embedded.map_problem", lambda *_args, **_kwargs: pytest.fail("something was mapped"))
    assert main(sweep(network, *more)) == code
    assert words in capsys.readouterr().err


def test_a_network_must_be_given_and_a_scheduler_excludes_workers(network: Path, capsys) -> None:
    assert main(["sweep", "--workload", str(network), "--quiet"]) == 2
    assert "fields to go through" in capsys.readouterr().err
    assert main(["sweep", f"{DEPTH}=2048", "--quiet"]) == 2
    assert "--model NAME or --workload FILE" in capsys.readouterr().err
    assert main(sweep(network, f"{DEPTH}=2048", "--scheduler", "local:2")) == 2
    assert "not allowed with argument" in capsys.readouterr().err
    assert main(["sweep", "--scheduler", "nonsense", f"{DEPTH}=2048"]) == 2
    assert "host:port" in capsys.readouterr().err


def test_codesign_shows_the_accelerators_of_its_front_and_goes_on(tmp_path: Path, capsys) -> None:
    argv = ["codesign", "PE_column.spatial.meshX+PE.spatial.meshY=4,16", f"{DEPTH}=2048,16384", "--model", "lenet5",
            "--data", "digits", "--arch", "flexible", "--compression", "magnitude",
            "--dataflow", "row_stationary", "--pruning", "0.5", "--epochs", "1", "--population", "8", "--generations", "2",
            "--effort", "quick", "--workers", "1", "--validation-images", "60", "--train-images", "400", "--quiet",
            "--out", str(tmp_path / "run")]  # fmt: skip
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert "accelerators on the front" in text
    assert "as given" in text
    front = json.loads((tmp_path / "run" / "front.json").read_text())["fronts"][0]
    assert all({"accuracy", "energy_pj", "area_um2"} <= set(member["metrics"]) for member in front["members"])
    assert len({json.dumps(member["plan"]["accelerator"]) for member in front["members"]}) > 1
    assert main([*argv, "--resume"]) == 0
    assert "accelerators on the front" in capsys.readouterr().out
    again = json.loads((tmp_path / "run" / "front.json").read_text())["fronts"][0]
    assert again["members"] == front["members"]
    changed = [f"{DEPTH}=2048,8192" if word.startswith(DEPTH) else word for word in argv]
    assert main([*changed, "--resume"]) == 1
    assert "cannot be resumed" in capsys.readouterr().err
