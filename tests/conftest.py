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


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small finished run of LeNet-5 on two dataflows; not to be changed."""
    from hwloop.run import Settings, compress  # torch, which most tests do without

    place = tmp_path_factory.mktemp("small") / "run"
    settings = Settings(
        method_options={"population": 6, "generations": 2}, weight_bits=(3, 11), pruning=(0.6,), epochs=3, library_epochs=1,
        mapper_effort="quick", validation_images=80,
    )  # fmt: skip
    compress("lenet5", "digits", "flexible_skipping", ("xy", "xfx"), settings, run_dir=place, workers=1)
    return place
