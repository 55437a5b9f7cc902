"""The one resolver: names of what ships, paths of what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwloop.errors import SpecError
from hwloop.spec import resources, shipped
from hwloop.spec.architecture import load_architecture
from hwloop.spec.constraint_sets import load_constraints


def test_what_the_design_promises_ships() -> None:
    for name in ("eyeriss_168", "tpu_like", "shidiannao_like", "flexible"):
        assert name in shipped.architecture_names()
        assert sum(other.startswith(f"{name}_") for other in shipped.architecture_names()) >= 2, "two sparse versions each"
    assert set(shipped.mapping_names()) == {
        "row_stationary", "weight_stationary", "output_stationary", "xy", "fxfy", "xfx", "cico",
    }  # fmt: skip


def test_energy_tables_are_not_accelerators() -> None:
    assert not any(name.endswith(".ert") for name in shipped.architecture_names())


def test_a_name_and_its_path_are_the_same_accelerator() -> None:
    path = shipped.find_architecture("eyeriss_168")
    assert shipped.find_architecture(path) == path
    assert resources.open_architecture(path) == resources.open_architecture("eyeriss_168")


def test_loaders_take_names_too() -> None:
    assert load_architecture("eyeriss_168") == resources.open_architecture("eyeriss_168")
    assert load_constraints("row_stationary") == resources.open_mapping("row_stationary")
    with pytest.raises(SpecError, match="a readable YAML file"):
        load_architecture("eyeris_168")


def test_a_file_of_ones_own_wins_over_nothing(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(shipped.find_architecture("flexible").read_text(encoding="utf-8"), encoding="utf-8")
    assert resources.open_architecture(own) == resources.open_architecture("flexible")
    assert shipped.find_table(own) is None
    assert resources.open_table(own) is None


def test_a_misspelt_name_says_what_was_meant() -> None:
    with pytest.raises(SpecError, match=r"a shipped accelerator: eyeriss_168.*did you mean 'eyeriss_168'\?"):
        shipped.find_architecture("eyeris_168")
    with pytest.raises(SpecError, match=r"a shipped dataflow: cico.*check the path"):
        shipped.find_mapping("no/such/mapping.yaml")


def test_a_broken_installation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "a" / "hwloop")
    with pytest.raises(SpecError, match="reinstall hwloop: its data files are missing"):
        shipped.folder("arch_specs")
