from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hwloop.cli.main import main


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.html"


def test_text_has_every_member_and_the_paper_s_tables(small_run: Path, page: Path, capsys) -> None:
    assert main(["report", str(small_run), "--html", str(page)]) == 0
    out = capsys.readouterr().out
    members = json.loads((small_run / "front.json").read_text())["fronts"][0]["members"]
    assert f"\n{len(members):6d}  " in out
    for figure in ("14.0x", "12.2x", "10.4x", "8.9x", "6.1x", "7.4x", "2.4x", "32-bit floats", "16-bit weights", "VGG-16"):
        assert figure in out
    assert "not in this run" in out
    assert page.stat().st_size > 1_000_000


def test_markdown_has_as_many_cells_in_every_line_of_a_table(small_run: Path, page: Path, capsys) -> None:
    assert main(["report", str(small_run), "--markdown", "--html", str(page)]) == 0
    blocks = [block for block in capsys.readouterr().out.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 5
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_json_is_the_report_as_data(small_run: Path, page: Path, capsys) -> None:
    assert main(["report", str(small_run), "--json", "--html", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["finished"] is True
    assert [row["what"] for row in found["energy"]] == ["X:Y", "CI:CO", "FX:FY", "X:FX"]
    assert [row["what"] for row in found["size"]] == ["normal", "csr", "coo"]
    assert len(found["fronts"]) == 2
    assert found["html"] == str(page)


def test_an_unfinished_run_gives_what_is_there(small_run: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    shutil.copytree(small_run, run, ignore=shutil.ignore_patterns("library", "front.*", "layers-*"))
    assert main(["report", str(run)]) == 0
    assert "not finished" in capsys.readouterr().out
    assert "not finished" in (run / "report.html").read_text()


def test_no_run_is_a_clear_error(tmp_path: Path, capsys) -> None:
    assert main(["report", str(tmp_path)]) == 1
    assert "there is no config.json in it; give the folder of a run" in capsys.readouterr().err
