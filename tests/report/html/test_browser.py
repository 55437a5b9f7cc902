"""The page in a real browser: nothing asked of the network, both widths, both schemes, mouse and keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hwloop.report.html.run_page import run_page
from hwloop.run.opened import open_run

from .chromium import PROGRAM, Browser, browser

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on PATH (Debian's package is called chromium)")
READY = "document.querySelectorAll('#front-chart .main-svg').length > 0"
CHOSEN = "document.getElementById('layers-of').textContent"


@pytest.fixture(scope="module")
def page(small_run: Path, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(run_page(open_run(small_run)).to_html())
    return file


@pytest.fixture(scope="module")
def tab(tmp_path_factory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_both_widths_and_schemes(tab: Browser, page: Path, width: int, dark: bool) -> None:
    tab.open(page, width, dark=dark)
    tab.wait(READY)
    assert tab.complaints == []
    assert tab.requests == [page.resolve().as_uri()]
    assert tab.eval("document.documentElement.scrollWidth") <= width
    paper, ink = (
        tab.eval(f"getComputedStyle(document.body).{what}.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0)")
        for what in ("backgroundColor", "color")
    )
    assert (paper < 150 < 600 < ink) if dark else (ink < 150 < 600 < paper)
    text = tab.eval("getComputedStyle(document.querySelector('#front-chart .xtitle')).fill.match(/\\d+/g).map(Number)[0]")
    assert (text > 200) == dark
    for chart in ("front-chart", "layers-chart"):
        left, right = tab.eval(f"(() => {{ const r = document.getElementById('{chart}').getBoundingClientRect(); "
                               "return [r.left, r.right]; })()")  # fmt: skip
        assert left >= 0
        assert right <= width


def test_colours_follow_the_scheme_while_the_page_is_open(tab: Browser, page: Path) -> None:
    tab.open(page)
    tab.wait(READY)
    script = "getComputedStyle(document.querySelector('#front-chart .xtitle')).fill"
    light = tab.eval(script)
    tab.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    tab.wait(f"{script} !== {light!r}")


def test_hovering_says_what_a_member_is(tab: Browser, page: Path, small_run: Path) -> None:
    tab.open(page)
    tab.wait(READY)
    x, y = tab.eval(POINT)
    tab.move(x, y)
    tab.wait("document.querySelector('#front-chart .hoverlayer').textContent.includes('bits')")
    text = tab.eval("document.querySelector('#front-chart .hoverlayer').textContent")
    assert "member 1" in text
    assert "conv1: " in text
    shown = next(front for front in open_run(small_run).fronts if text.startswith(front.target)).members[0]
    assert f"p {100 * shown.pruned:.0f}%" in text


def test_clicking_a_point_and_a_bar_chooses(tab: Browser, page: Path) -> None:
    tab.open(page)
    tab.wait(READY)
    x, y = tab.eval(POINT)
    tab.move(x, y)
    tab.click(x, y)
    tab.wait(f"{CHOSEN}.includes('member 1')")
    bar = (
        "(() => { const bars = [...document.querySelectorAll('#layers-chart .trace')[0].querySelectorAll('.point')];"
        "const r = bars[2].getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; })()"
    )
    tab.eval("document.getElementById('layers-chart').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y = tab.eval(bar)
    tab.move(x, y)
    tab.click(x, y)
    tab.wait("document.getElementById('layer-about').textContent.startsWith('fc1: ')")
    assert "<< Compute >>" in tab.eval("document.getElementById('nest').textContent")


def test_everything_is_reached_by_keyboard(tab: Browser, page: Path) -> None:
    tab.open(page)
    tab.wait(READY)
    members = tab.eval("document.getElementById('member').options.length")
    for at in range(members):  # the select has every member, and the rest of the page follows it
        tab.eval(f"(() => {{ const s = document.getElementById('member'); s.value = '{at}'; s.onchange(); }})()")
        name = "dense reference" if at == 0 else f"member {at}"
        assert f"{name}" in tab.eval(CHOSEN)
    tab.eval("document.getElementById('target').focus()")
    for _ in range(20):
        tab.press("Tab")
        if tab.eval("document.activeElement.tagName === 'BUTTON'"):
            break
    label = tab.eval("document.activeElement.textContent")
    assert label == "dense"
    tab.press("Enter")
    tab.wait(f"{CHOSEN}.includes('dense reference')")
    tab.eval("document.querySelectorAll('#layers-table button')[1].focus()")
    tab.press("Enter")
    tab.wait("document.getElementById('layer-about').textContent.startsWith('conv2: ')")
    assert tab.eval("document.activeElement.textContent") == "conv2"  # the focus stays where it was
    outline = tab.eval("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


def test_tables_have_what_hovering_shows(tab: Browser, page: Path, small_run: Path) -> None:
    tab.open(page)
    tab.wait(READY)
    text = tab.eval("document.querySelector('.front-table').textContent")
    front = open_run(small_run).fronts[0]
    for member in front.members:
        assert f"{100 * member.metrics['accuracy']:.2f}%" in text
    rows = tab.eval("[...document.querySelectorAll('#layers-table tbody tr')].map((row) => row.cells[0].textContent)")
    assert rows == ["conv1", "conv2", "fc1", "fc2", "fc3"]


def test_an_unfinished_run_says_so(tab: Browser, small_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "half.html"
    file.write_text(run_page(replace(open_run(small_run), document={}, fronts=(), layers={})).to_html())
    tab.open(file, 390)
    tab.wait(READY)
    assert tab.complaints == []
    assert "not finished" in tab.eval("document.querySelector('.status').textContent")
    assert tab.eval("document.documentElement.scrollWidth") <= 390
    file.write_text(run_page(replace(open_run(small_run), document={}, fronts=(), layers={}, evaluated={})).to_html())
    tab.open(file, 390)
    assert tab.complaints == []
    assert "0 candidates" in tab.eval("document.body.textContent")


# where the first member of the chosen front lies on the screen
POINT = (
    "(() => { const chart = document.getElementById('front-chart'); chart.scrollIntoView({block: 'center', behavior: 'instant'});"
    "const trace = chart._fullData.findIndex((t) => t.customdata && t.customdata.some(([at, k]) => at === 0 && k === 1));"
    "const full = chart._fullData[trace]; const k = full.customdata.findIndex(([, number]) => number === 1);"
    "const box = chart.getBoundingClientRect(), x = chart._fullLayout.xaxis, y = chart._fullLayout.yaxis;"
    "return [box.left + x._offset + x.l2p(Math.log10(full.x[k])), box.top + y._offset + y.l2p(full.y[k])]; })()"
)
