"""`hwloop report`: tables of a run in the terminal, and one HTML page that needs nothing else."""

from __future__ import annotations

import argparse
from pathlib import Path

from hwloop.cli.common import Subparsers, add_command, print_json, write_text
from hwloop.report.run_report import report_document, report_markdown, report_text
from hwloop.run.opened import open_run

PAGE = "report.html"


def add_parser(commands: Subparsers) -> None:
    """Declares the arguments."""
    parser = add_command(
        commands, "report", "tables of a run, and an interactive HTML page of it", "hwloop report hwloop-demo/run-1",
        "Prints the fronts of a run and the paper's two tables beside its published figures, and writes one HTML page with\n"
        "everything in it: front, layers, loop nests, energies. A run that is not finished gives what is there.",
    )  # fmt: skip
    parser.add_argument("run", metavar="RUN", help="folder of a run of `hwloop compress` or `hwloop demo`")
    parser.add_argument("--html", metavar="FILE", help=f"where to write the page (default: RUN/{PAGE})")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print Markdown")
    form.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the report and writes the page."""
    from hwloop.report.html.run_page import run_page  # loads the templates, which help does not need

    found = open_run(args.run)
    page = Path(args.html) if args.html else found.folder / PAGE
    write_text(page, run_page(found).to_html())
    if args.json:
        print_json(report_document(found) | {"html": str(page)})
    else:
        print(report_markdown(found) if args.markdown else report_text(found))
        print(f"page: {page}")
    return 0
