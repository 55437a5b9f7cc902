"""Energy tables: Accelergy's form, the short form, round trip, fall-backs and refusals."""

from __future__ import annotations

import pytest

from hwloop.errors import EnergyTableError, SpecError
from hwloop.spec.energy_table import load_energy_table

ACCELERGY = """
ERT:
  version: '0.4'
  tables:
  - name: system.shared_glb[1..1]
    actions:
    - {name: read, arguments: {}, energy: 18.2}
    - {name: write, arguments: {}, energy: 14.1}
    source: CACTI 7, 45 nm
  - name: system.PE[0..13].mac[1..168]
    actions:
    - {name: compute, arguments: {}, energy: 1.4}
ART:
  version: '0.4'
  tables:
  - {name: 'system.shared_glb[1..1]', area: 217363.4}
"""


def test_accelergy_names_are_stripped_to_the_component() -> None:
    table = load_energy_table(ACCELERGY)
    assert [c.name for c in table.components] == ["shared_glb", "mac"]
    glb = table.component("shared_glb")
    assert (glb.area_um2, glb.source) == (217363.4, "CACTI 7, 45 nm")
    assert glb.energy_pj("random_read", "read") == 18.2
    assert table.component("mac").area_um2 is None


def test_round_trip_and_the_short_forms() -> None:
    table = load_energy_table(ACCELERGY)
    assert load_energy_table(table.to_yaml()) == table
    assert load_energy_table(table.to_yaml()).component("shared_glb").source == "CACTI 7, 45 nm"
    assert load_energy_table({"rf": {"read": 1, "write": 2}}) == load_energy_table([["rf", {"read": 1, "write": 2}]])


def test_there_is_never_a_dummy_number() -> None:
    table = load_energy_table(ACCELERGY)
    with pytest.raises(EnergyTableError, match=r"no component 'rf'; it has \['mac', 'shared_glb'\]"):
        table.component("rf")
    with pytest.raises(EnergyTableError, match="'mac' has no action leak; it has"):
        table.component("mac").energy_pj("leak")
    assert table.component("mac").energy_pj("leak", default=0.0) == 0.0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"rf": {"read": -1}}, r"rf\.read: expected an energy \[pJ\], a number of at least 0, found -1"),
        ({"rf": {"read": "lots"}}, r"rf\.read: expected an energy"),
        ({"rf": {"read": float("nan")}}, r"rf\.read: expected a finite number"),
        ({"rf": 3}, "rf: expected a mapping of fields"),
        ({"ERT": {"tables": [{"name": "rf", "actions": []}, {"name": "a.rf[1..2]", "actions": []}]}}, "each component once"),
    ],
)
def test_mistakes_are_named(table: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_energy_table(table)
