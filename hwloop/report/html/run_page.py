"""The page of a compression run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hwloop.report.html.page import Page, Section, render
from hwloop.report.html.run_json import run_json
from hwloop.report.run_data import RunData, baselines
from hwloop.report.run_report import chosen_grid, finetuned_grid, front_grid, paper_grids


def run_page(run: RunData) -> Page:
    """The page of a run, finished or not; what is not there yet is named and left out."""
    data = run_json(run)
    evaluated = any(target["cloud"]["accuracy"] for target in data["targets"])
    sections = [_summary(run)]
    if run.fronts or evaluated:
        sections.append(_front(run))
    if run.layers:
        sections += [_layers(), _layer(), _energies()]
    if run.fronts:
        sections.append(_paper(run))
    sections.append(_about(run))
    drawn = bool(run.fronts or evaluated)
    return Page(run.title, run.status, run.finished, sections, data if drawn else {}, ("run.js",) if drawn else ())


def _summary(run: RunData) -> Section:
    counts = [(target, len(run.evaluated.get(target, ()))) for target in run.targets]
    body = render("summary.html", run=run, grids=(chosen_grid(run), finetuned_grid(run)), counts=counts)
    return Section("summary", "What came out" if run.fronts else "What there is so far", body)


def _front(run: RunData) -> Section:
    grids = [front_grid(front) for front in run.fronts]
    lead = (
        "Every point is a compressed network; choose one to see where its energy goes."
        if run.fronts
        else "Every point is a candidate that was evaluated so far; there is no front before the search has ended."
    )
    return Section("front", "The front" if run.fronts else "Evaluated so far", render("front.html", grids=grids), lead)


def _layers() -> Section:
    return Section("layers", "Layer by layer", render("layers.html"), "Where the energy of the chosen network goes.")


def _layer() -> Section:
    lead = "The chosen layer's loop nest, outermost loop first, and what each level holds and moves."
    return Section("layer", "One layer", render("layer.html"), lead)


def _energies() -> Section:
    lead = (
        "What an action costs at the chosen layer's bits, and who says so. A storage pays for an access of a whole row; "
        "leakage is of one instance and cycle."
    )
    return Section("energies", "Energy table", render("energies.html"), lead)


def _paper(run: RunData) -> Section:
    return Section("paper", "The paper's two tables", render("paper.html", grids=paper_grids(run)))


def _about(run: RunData) -> Section:
    of = baselines(run)
    seconds = run.document.get("seconds", {})
    body = render(
        "about.html", notes=[*run.document.get("notes", ()), *run.notes], baselines=(of.energy, of.plain, of.size),
        config=list(_flat(run.config)), versions=sorted(run.versions.items()), folder=str(run.folder),
        seconds=[(stage, f"{value:.1f} s") for stage, value in seconds.items()],
    )  # fmt: skip
    return Section("about", "How it was made", body)


def _flat(values: Mapping[str, Any], path: str = "") -> list[tuple[str, str]]:
    """Every setting by its path, as JSON."""
    out = []
    for name, value in values.items():
        where = f"{path}.{name}" if path else str(name)
        out += _flat(value, where) if isinstance(value, Mapping) and value else [(where, json.dumps(value))]
    return out
