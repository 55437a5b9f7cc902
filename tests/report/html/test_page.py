from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from hwloop.report.html.page import Page, Section, render
from hwloop.report.html.run_page import run_page
from hwloop.run.opened import open_run

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def data_of(page: str) -> dict:
    """What the page's scripts read."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_names_that_others_gave_stay_text(small_run: Path) -> None:
    run = open_run(small_run)
    config = {**run.config, "model": NASTY, "targets": [NASTY, *run.targets]}
    page = run_page(replace(run, config=config, notes=(NASTY,))).to_html()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert data_of(page)["targets"][0]["name"] == NASTY


def test_a_script_cannot_end_its_element() -> None:
    page = Page("t", "s", True, [Section("a", "A", render("energies.html"))], {"x": NASTY}, ("run.js",)).to_html()
    assert page.count("</script>") == page.count("<script")
    assert data_of(page)["x"] == NASTY


def test_nothing_on_the_page_is_loaded_from_elsewhere(small_run: Path) -> None:
    page = run_page(open_run(small_run)).to_html()
    assert "default-src 'none'" in page
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", own)
    assert "@import" not in own
    assert "url(" not in own


def test_a_run_without_anything_has_a_page_without_charts(small_run: Path) -> None:
    run = replace(open_run(small_run), document={}, fronts=(), layers={}, evaluated={})
    page = run_page(run).to_html()
    assert "not finished: 0 candidates on xy" in page
    assert len(page) < 50_000


def test_what_evaluated_so_far_is_drawn_before_there_is_a_front(small_run: Path) -> None:
    run = replace(open_run(small_run), document={}, fronts=(), layers={})
    page = run_page(run).to_html()
    cloud = data_of(page)["targets"][0]["cloud"]
    assert len(cloud["accuracy"]) == len(cloud["energy_pj"]) == len(run.evaluated["xy"])
    assert "there is no front before the search has ended" in page


def test_the_data_add_up(small_run: Path) -> None:
    run = open_run(small_run)
    for target, front in zip(data_of(run_page(run).to_html())["targets"], run.fronts, strict=True):
        assert [m["energy_pj"] for m in target["members"][1:]] == [float(f"{m.metrics['energy_pj']:.6g}") for m in front.members]
        for member in target["members"]:
            total = sum(layer["energy"] for layer in member["layers"]) + sum(energy for _, energy, _ in member["operations"])
            assert abs(total / member["energy_pj"] - 1) < 1e-4
            for layer in member["layers"]:
                assert target["nests"][layer["nest"]].endswith("<< Compute >>")
                assert abs(sum(part[2] for part in layer["parts"]) / layer["energy"] - 1) < 1e-4
                assert all(row[6] for row in target["tables"][layer["table"]])  # every energy has a source
