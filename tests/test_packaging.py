"""The installed wheel, used from another folder, finds what ships with it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

USE = """
import hwloop
from hwloop.energy import estimate_energy_table
from hwloop.spec import resources, shipped
assert {place!r} in hwloop.__file__, hwloop.__file__
for name in shipped.architecture_names():
    assert {place!r} in str(shipped.find_architecture(name))
    estimate_energy_table(resources.open_architecture(name))
    assert shipped.find_table(name) is not None
from hwloop.report.html.page import Page
assert "<html" in Page("title", "status", True, ()).to_html()  # templates and style ship too
print(len(shipped.architecture_names()), len(shipped.mapping_names()))
"""


@pytest.mark.slow
def test_the_wheel_holds_and_finds_its_data(tmp_path: Path) -> None:
    source = tmp_path / "source"  # build in a copy: a build leaves folders behind
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    place = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)  # what installing a pure wheel does
    assert (place / "hwloop" / "py.typed").is_file()  # its annotations count for those who use it
    (tmp_path / "elsewhere").mkdir()
    out = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(place)!r})\n" + USE.format(place=str(place))],
        cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=True,
    )  # fmt: skip
    architectures, mappings = map(int, out.stdout.split())
    assert architectures == len([p for p in (ROOT / "arch_specs").glob("*.yaml") if not p.name.endswith(".ert.yaml")])
    assert mappings == len(list((ROOT / "mappings").glob("*.yaml")))
