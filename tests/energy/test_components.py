"""Every picojoule has an owner: which primitives each class pays for, against sums made by hand from made-up figures."""

from __future__ import annotations

import pytest

from hwloop.energy import literature
from hwloop.energy.components import component_energy
from hwloop.energy.primitives import Figures
from hwloop.errors import EnergyTableError
from hwloop.spec.levels import Level

CYCLE_S = 2e-9


class FakeEstimator:
    """Round numbers, so that sums can be checked by hand."""

    name = "fake"

    def sram(self, node_nm: float, depth: int, width_bits: int, banks: int) -> Figures:
        return Figures(depth * width_bits / 1000, depth * width_bits / 500, depth * 1e-9, depth * width_bits, "fake sram")

    def logic(self, kind: str, node_nm: float) -> Figures:
        unit = {"register": 1.0, "comparator": 0.1, "adder": 0.01, "multiplier": 0.001}[kind] * node_nm / 45
        return Figures(unit, unit, unit * 1e-6, unit * 10, f"fake {kind}")

    def dram(self, kind: str) -> Figures:
        return Figures(8.0, 9.0, 0.0, 0.0, f"fake {kind}")


def level(class_name: str, subclass: str = "", kind: str = "storage", **attributes: object) -> Level:
    attributes.setdefault("technology", "45nm")
    return Level("it", kind, class_name, subclass, attributes=tuple(attributes.items()))  # type: ignore[arg-type]


def energies(*args: object, bits: dict[str, int] | None = None, **attributes: object) -> dict[str, float]:
    return component_energy(level(*args, **attributes), FakeEstimator(), CYCLE_S, bits).energies_pj  # type: ignore[arg-type]


def test_sram_is_one_array() -> None:
    found = component_energy(level("SRAM", depth=100, width=64, datawidth=16), FakeEstimator(), CYCLE_S)
    assert found.energies_pj == pytest.approx({"read": 6.4, "write": 12.8, "update": 12.8, "leak": 100e-9 * 2e-9 * 1e12})
    assert found.area_um2 == 6400
    assert found.source == "fake sram"


def test_smart_buffer_adds_an_address_generator_to_each_access() -> None:
    found = energies("smartbuffer_SRAM", depth=100, width=64)
    assert found["read"] == pytest.approx(6.4 + 7 * 0.01)  # 7 address bits
    assert found["write"] == pytest.approx(12.8 + 7 * 0.01)


def test_register_file_pays_for_the_row_and_for_selecting_it() -> None:
    found = component_energy(level("regfile", depth=12, width=16), FakeEstimator(), CYCLE_S)
    assert found.energies_pj["read"] == pytest.approx(16 * 1.0 + 12 * 4 * 0.1)  # 12 comparators of 4 bits
    assert found.area_um2 == pytest.approx(12 * 16 * 10 + 12 * 4 * 1)
    banked = energies("regfile", depth=12, width=16, n_banks=3)
    assert banked["read"] == pytest.approx(16 * 1.0 + 4 * 2 * 0.1)  # one bank of 4 rows is searched


def test_a_single_register_needs_no_depth() -> None:
    assert energies("aladdin_register", width=8)["read"] == pytest.approx(8 * 1.0 + 0.1)


def test_subclass_names_the_class_that_counts() -> None:
    assert energies("storage", "smartbuffer_RF", depth=2, width=8) == energies("smartbuffer_RF", depth=2, width=8)


def test_dram_is_priced_by_the_bit_and_does_not_leak() -> None:
    found = energies("DRAM", type="LPDDR4", width=64, metadata_storage_width=10)
    assert found == {"read": 512, "write": 576, "update": 576, "metadata_read": 80, "metadata_write": 90, "leak": 0}


def test_dram_without_a_type_is_what_accelergy_takes_and_says_so() -> None:
    found = component_energy(level("DRAM", width=64), FakeEstimator(), CYCLE_S)
    assert found.energies_pj["read"] == 512
    assert found.source == "fake LPDDR4; no `type` given, so LPDDR4 as in Accelergy"


def test_capacity_in_entries_is_as_good_as_in_rows() -> None:
    rows = energies("SRAM", depth=100, width=64, datawidth=16)
    assert energies("SRAM", entries=400, block_size=4, datawidth=16) == pytest.approx(rows)


def test_metadata_has_a_memory_and_a_counter_of_its_own() -> None:
    found = energies("SRAM", depth=100, width=64, metadata_storage_depth=50, metadata_storage_width=20, metadata_counter_width=5)
    assert found["metadata_read"] == pytest.approx(1.0)
    assert found["metadata_write"] == pytest.approx(2.0)
    assert found["decompression_count"] == found["compression_count"] == pytest.approx(0.05)


def test_mac_follows_the_bits_of_both_operands() -> None:
    mac = {"multiplier_width": 16, "adder_width": 32}
    full = energies("intmac", kind="compute", **mac)
    assert full["compute"] == pytest.approx(256 * 0.001 + 32 * 0.01)
    assert full["compute_gated"] == full["compute_skipped"] == 0
    narrow = energies("intmac", kind="compute", bits={"Weights": 4, "Inputs": 8}, **mac)
    assert narrow["compute"] == pytest.approx(32 * 0.001 + 32 * 12 / 32 * 0.01)
    assert narrow["leak"] == full["leak"]  # it is built for 16 bits and leaks as such


def test_horowitz_mac_scales_from_45_nm() -> None:
    mac = {"kind": "compute", "multiplier_width": 16, "adder_width": 16}
    at_45 = energies("intmac", "intmac_horowitz", **mac)
    assert at_45["compute"] == pytest.approx(literature.multiply_pj(16, 16) + 0.05)
    at_90 = component_energy(level("intmac", "intmac_horowitz", technology="90nm", **mac), FakeEstimator(), CYCLE_S)  # type: ignore[arg-type]
    assert at_90.energies_pj["compute"] == pytest.approx(2 * at_45["compute"])
    assert "Horowitz" in at_90.source
    assert "45 to 90 nm" in at_90.source


def test_literature_gives_the_published_points() -> None:
    assert literature.multiply_pj(8, 8) == pytest.approx(0.2)
    assert literature.multiply_pj(32, 32) == pytest.approx(3.1)
    assert literature.multiply_pj(8, 32) == literature.multiply_pj(32, 8) == pytest.approx(0.2 * 4**0.9885, rel=1e-3)
    assert [literature.add_pj(b) for b in (4, 8, 16, 32, 64)] == pytest.approx([0.015, 0.03, 0.05, 0.1, 0.2])
    assert literature.multiply_um2(8, 8) == pytest.approx(282)
    assert literature.add_um2(32) == pytest.approx(137)


@pytest.mark.parametrize(
    "class_name, attributes, message",
    [
        ("crossbar", {}, "no estimator knows the class 'crossbar'.*give its energies in a table"),
        ("SRAM", {"width": 64}, "attribute `depth`: expected a whole number of at least 1, found None"),
        ("regfile", {"datawidth": 16}, "attribute `depth`"),
        ("DRAM", {"width": 64, "type": 4}, "attribute `type`: expected the kind of DRAM"),
        ("SRAM", {"depth": 64, "width": 64, "technology": None}, "attribute `technology`: expected a node such as"),
        ("SRAM", {"depth": 64, "width": 64, "technology": "small"}, "found 'small'"),
        ("SRAM", {"depth": 64, "width": 64, "metadata_storage_width": 8}, "attribute `metadata_storage_depth`"),
    ],
)
def test_what_nobody_can_price_is_refused_with_what_to_add(class_name: str, attributes: dict[str, object], message: str) -> None:
    with pytest.raises(EnergyTableError, match=message):
        energies(class_name, **attributes)
