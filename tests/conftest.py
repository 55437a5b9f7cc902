"""Fixtures every test may use, and the markers that are skipped by default with their reason printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from .timeloop_runs import make_program, recorded, recorded_run, replayed  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
MARKERS = {
    "timeloop": "runs the real timeloop programs; give --timeloop",
    "gpu": "needs a CUDA device; give --gpu",
    "slow": "takes over ten seconds; give --slow",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    for marker, reason in MARKERS.items():
        parser.addoption(f"--{marker}", action="store_true", default=False, help=f"run the tests marked {marker}: {reason}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for marker, reason in MARKERS.items():
            if item.get_closest_marker(marker) and not config.getoption(f"--{marker}"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data and data sets that lies beside the project's root."""
    if not (SHARED / "reference").is_dir():
        pytest.skip(f"no reference data beside the project ({SHARED} is not there)")
    return SHARED
