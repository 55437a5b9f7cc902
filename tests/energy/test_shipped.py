"""The shipped figures: exact where CACTI ran, between their neighbours elsewhere, refused outside."""

from __future__ import annotations

import json
import random

import pytest

from hwloop.energy.shipped import DATA, ShippedEstimator, interpolation_error
from hwloop.errors import EnergyTableError

RAW = json.loads((DATA / "sram.json").read_text(encoding="utf-8"))
ROWS = {tuple(row[:4]): row[4:] for row in RAW["grid"] + RAW["exact"]}


def figures(node: float, depth: int, width: int, banks: int = 1) -> tuple[float, float, float, float]:
    f = ShippedEstimator().sram(node, depth, width, banks)
    return f.read_pj, f.write_pj, f.leak_w, f.area_um2


def test_a_size_that_cacti_ran_is_its_own_answer() -> None:
    for node, banks, width, depth in random.Random(0).sample(sorted(ROWS), 50):
        assert figures(node, depth, width, banks) == pytest.approx(ROWS[node, banks, width, depth])
        assert "interpolated" not in ShippedEstimator().sram(node, depth, width, banks).source


def test_every_node_from_22_to_90_and_the_sizes_accelerators_have_are_covered() -> None:
    for node in (22, 28, 32, 40, 45, 65, 90):
        for depth, width in ((1, 8), (24, 16), (224, 16), (4000, 64), (16384, 64), (60000, 200)):
            read, write, leak, area = figures(node, depth, width)
            assert min(read, write, leak, area) > 0


def test_between_two_sizes_the_figures_lie_between_theirs() -> None:
    low, high = ROWS[45, 1, 64, 1024], ROWS[45, 1, 64, 1448]
    found = ShippedEstimator().sram(45, 1200, 64, 1)
    for value, a, b in zip((found.read_pj, found.write_pj, found.leak_w, found.area_um2), low, high, strict=True):
        assert min(a, b) < value < max(a, b)
    assert "interpolated" in found.source


def test_between_two_nodes_the_figures_are_linear() -> None:
    a, b = ROWS[45, 1, 64, 1024], ROWS[65, 1, 64, 1024]
    assert figures(50, 1024, 64) == pytest.approx([0.75 * x + 0.25 * y for x, y in zip(a, b, strict=True)])


def test_below_the_smallest_memory_of_cacti_the_stated_law_holds() -> None:
    base = ROWS[65, 1, 32, 64]
    read, write, leak, area = figures(65, 32, 16)
    scale = (0.3 + 0.7 * 0.5) * 0.5**0.78
    assert (read, write) == pytest.approx((base[0] * scale, base[1] * scale))
    assert (leak, area) == pytest.approx((base[2] / 4, base[3] / 4))
    assert "scaled from 64 x 32 bits" in ShippedEstimator().sram(65, 32, 16, 1).source


def test_more_rows_cost_more_over_decades() -> None:
    for node in (22, 45, 65, 90):
        reads = [figures(node, depth, 64)[0] for depth in (64, 512, 4096, 32768)]
        assert reads == sorted(reads)


def test_outside_the_grid_is_refused() -> None:
    with pytest.raises(EnergyTableError, match="covers 22 to 90 nm"):
        figures(130, 1024, 64)
    with pytest.raises(EnergyTableError, match="no SRAM of 10000000 rows x 64 bits"):
        figures(45, 10_000_000, 64)
    with pytest.raises(EnergyTableError, match="in 64 banks"):
        figures(45, 65536, 64, 64)


def test_the_measured_interpolation_error_is_stated_and_small() -> None:
    error = interpolation_error()
    assert error["points"] >= 100
    for name in ("read", "write", "leak", "area"):
        assert error[name]["median"] <= 0.05 <= 0.05 + error[name]["max"]
        assert error[name]["p90"] <= 0.25


def test_logic_matches_aladdin_at_40_nm_and_shrinks_with_the_node() -> None:
    shipped = ShippedEstimator()
    assert shipped.logic("multiplier", 40).read_pj * 32 * 32 == pytest.approx(12.68, rel=1e-4)
    assert shipped.logic("adder", 40).read_pj * 32 == pytest.approx(0.21, rel=1e-4)
    assert shipped.logic("register", 40).read_pj == pytest.approx(0.009, rel=1e-4)
    assert shipped.logic("register", 65).area_um2 > shipped.logic("register", 45).area_um2
    with pytest.raises(EnergyTableError, match="covers 22 to 90 nm"):
        shipped.logic("adder", 7)


def test_dram_is_known_by_kind() -> None:
    assert ShippedEstimator().dram("LPDDR4").read_pj == 8
    assert ShippedEstimator().dram("DDR3").read_pj == 70
    with pytest.raises(EnergyTableError, match="no DRAM 'DDR9'; it has DDR3, GDDR5, HBM2"):
        ShippedEstimator().dram("DDR9")


@pytest.mark.parametrize("name", ["sram", "logic", "dram"])
def test_every_data_file_names_its_estimator_and_version(name: str) -> None:
    source = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))["source"]
    for text in source.values() if isinstance(source, dict) else [source]:
        assert text.startswith(("hwcomponents", "accelergy"))
        assert any(c.isdigit() for c in text)
