"""What the Tab key offers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("argcomplete", reason="argcomplete is not installed")


def offered(line: str, place: Path) -> set[str]:
    out = place / "offered"
    environment = {
        **os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_TYPE": "9",
        "COMP_POINT": str(len(line)), "_ARGCOMPLETE_STDOUT_FILENAME": str(out), "_ARGCOMPLETE_IFS": "\n",
    }  # fmt: skip
    subprocess.run([sys.executable, "-m", "hwloop"], env=environment, check=False, timeout=120)
    return {word.strip() for word in out.read_text().split("\n")} - {""}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hwloop comp", {"compare", "compress"}),
        ("hwloop compare --equal", {"--equal-area"}),
        ("hwloop map --arch eyer", {"eyeriss_168", "eyeriss_168_coded", "eyeriss_168_gating", "eyeriss_168_skipping"}),
        ("hwloop map --dataflow w", {"weight_stationary"}),
        ("hwloop list acc", {"accelerators"}),
    ],
)
def test_commands_options_and_names_complete(line: str, expected: set[str], tmp_path: Path) -> None:
    assert offered(line, tmp_path) == expected
