"""Capacity, vectors, energy, bandwidth, leakage and bits against numbers worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hwloop import EnergyTableError, InfeasibleMappingError, SpecError
from hwloop.simulator import LayerCost, simulate

MATMUL = {
    "version": 0.4,
    "instance": {"M": 4, "N": 6, "K": 8},
    "shape": {
        "name": "matmul",
        "dimensions": ["M", "N", "K"],
        "data_spaces": [
            {"name": "A", "projection": [[["M"]], [["K"]]]},
            {"name": "B", "projection": [[["K"]], [["N"]]]},
            {"name": "Z", "projection": [[["M"]], [["N"]]], "read_write": True},
        ],
    },
}
MAPPING = [
    {"target": "DRAM", "type": "temporal", "factors": "M4"},
    {"target": "buffer", "type": "temporal", "factors": "N6 K8", "permutation": "KN"},
]  # tiles in the buffer: A 8, B 48, Z 6; reads A 192, B 192, Z 168; fills A 32, B 48, Z 0; updates Z 192; 192 cycles
ENERGY: dict[str, dict[str, float]] = {
    "DRAM": {"read": 10.0, "write": 20.0},
    "buffer": {"read": 1.0, "write": 2.0, "leak": 0.5},
    "mac": {"mac": 0.25, "leak": 7.0},
}


def architecture(buffer: str = "", extra: str = "", depth: int = 16) -> str:
    return f"""
architecture:
  version: 0.4
  nodes:
  - !Container {{name: system}}
  - !Component {{name: DRAM, class: DRAM, attributes: {{width: 64, datawidth: 16}}}}
  - !Component {{name: buffer, class: SRAM, attributes: {{width: 64, datawidth: 16, depth: {depth}{buffer}}}}}
{extra}  - !Component {{name: mac, class: intmac, attributes: {{datawidth: 16}}}}
"""


def run(
    buffer: str = "", energy: dict[str, dict[str, float]] | None = None, depth: int = 16, bits: dict[str, Any] | None = None
) -> LayerCost:
    return simulate(MATMUL, architecture(buffer, depth=depth), MAPPING, energy or ENERGY, bits)


def test_energy_is_paid_per_vector_and_leakage_per_instance_and_cycle() -> None:
    cost = run()
    spaces = cost.components["buffer"].dataspaces
    assert spaces["A"].energy_pj == 192 / 4 * 1.0 + 32 / 4 * 2.0
    assert spaces["B"].energy_pj == 192 / 4 * 1.0 + 48 / 4 * 2.0
    assert spaces["Z"].energy_pj == 168 / 4 * 1.0 + 192 / 4 * 2.0
    assert cost.components["buffer"].leakage_pj == 0.5 * 192
    assert cost.components["mac"].energy_pj == 192 * 0.25  # the compute level's leakage is none of Timeloop's actions
    assert cost.components["DRAM"].energy_pj == (32 + 48) / 4 * 10.0 + 24 / 4 * 20.0
    assert cost.energy_pj == pytest.approx(sum(c.energy_pj for c in cost.components.values()))
    assert cost.edp == cost.energy_pj * 192


def test_a_started_vector_costs_a_whole_one() -> None:
    problem = {**MATMUL, "instance": {"M": 1, "N": 1, "K": 5}}
    cost = simulate(problem, architecture(), [{"target": "buffer", "type": "temporal", "factors": "K5"}], ENERGY)
    assert cost.components["buffer"].dataspaces["A"].energy_pj == 2 * 1.0 + 2 * 2.0


def test_actions_fall_back_in_timeloops_order() -> None:
    energy = {**ENERGY, "buffer": {"random_read": 3.0, "read": 1.0, "fill": 5.0, "update": 7.0, "write": 2.0}}
    spaces = run(energy=energy).components["buffer"].dataspaces
    assert spaces["A"].energy_pj == 48 * 3.0 + 8 * 5.0
    assert spaces["Z"].energy_pj == 42 * 3.0 + 48 * 7.0


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        ({"buffer": {"read": 1.0}}, r"component 'buffer' has no action random_fill or random_write or fill or write"),
        ({"mac": {}}, r"component 'mac' has no action mac_random or mult_random or mac or mult or compute"),
    ],
)
def test_a_missing_energy_is_an_error_not_a_guess(energy: dict[str, dict[str, float]], message: str) -> None:
    with pytest.raises(EnergyTableError, match=message):
        run(energy={**ENERGY, **energy})


def test_a_missing_component_is_an_error() -> None:
    with pytest.raises(EnergyTableError, match=r"no component 'buffer'"):
        run(energy={k: v for k, v in ENERGY.items() if k != "buffer"})


@pytest.mark.parametrize(
    ("attribute", "cycles"),
    [
        ("", 192),
        (", read_bandwidth: 4", 192),
        (", read_bandwidth: 2", 276),  # (192 + 192 + 168) / 2
        (", write_bandwidth: 1", 272),  # 32 + 48 + 192
        (", shared_bandwidth: 2", 412),  # (552 + 272) / 2
        (", bandwidth: 2", 552),  # a half each
    ],
)
def test_the_worst_bandwidth_stretches_the_cycles(attribute: str, cycles: int) -> None:
    cost = run(attribute)
    assert cost.cycles == cost.components["buffer"].cycles == cycles
    assert cost.utilization == pytest.approx(192 / cycles)
    assert cost.components["buffer"].leakage_pj == 0.5 * cycles


def test_a_bandwidth_of_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match=r"buffer\.attributes\.read_bandwidth: expected words per cycle, more than 0"):
        run(", read_bandwidth: 0")


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ("15", r"^buffer: A \+ B \+ Z need 62 \(A 8, B 48, Z 6\) words, 60 words fit$"),
        (", multiple_buffering: 2", r"^buffer: A \+ B \+ Z need 62 .* words, 32 words fit$"),
        (", min_utilization: 1.0", r"^buffer: 62 words are used, min_utilization asks for 64$"),
    ],
)
def test_what_does_not_fit_is_refused_with_need_and_room(attribute: str, reason: str) -> None:
    text = architecture(depth=15) if attribute == "15" else architecture(attribute)
    with pytest.raises(InfeasibleMappingError, match=reason) as caught:
        simulate(MATMUL, text, MAPPING, ENERGY)
    assert caught.value.level == "buffer"


def test_the_reason_names_a_single_data_space() -> None:
    bypass = {"target": "buffer", "type": "bypass", "keep": ["B"], "bypass": ["A", "Z"]}
    with pytest.raises(InfeasibleMappingError, match=r"^buffer: B needs 48 words, 40 words fit$") as caught:
        simulate(MATMUL, architecture(depth=10), [*MAPPING, bypass], ENERGY)
    assert (caught.value.level, caught.value.data_space) == ("buffer", "B")


def test_instances_of_a_cluster_share_the_energy_of_an_access() -> None:
    array = "  - !Container {name: PE, spatial: {meshX: 4}}\n  - !Component {name: reg, class: regfile, attributes: %s}\n"
    mapping = [
        {"target": "buffer", "type": "temporal", "factors": "N6 K8"},
        {"target": "inter_PE_spatial", "type": "spatial", "factors": "M4"},
    ]
    energy = {**ENERGY, "reg": {"read": 1.0, "write": 1.0}}
    single = simulate(MATMUL, architecture(depth=100, extra=array % "{width: 16, datawidth: 16, depth: 8}"), mapping, energy)
    shared = simulate(
        MATMUL, architecture(depth=100, extra=array % "{width: 64, datawidth: 16, cluster_size: 4, depth: 8}"), mapping, energy
    )  # fmt: skip
    for space in "ABZ":
        one, four = (cost.components["reg"].dataspaces[space] for cost in (single, shared))
        assert (four.reads, four.instances) == (one.reads, one.instances)
        assert four.energy_pj == one.energy_pj / 4


def test_power_gating_leaks_with_the_instances_behind_the_gate() -> None:
    array = (
        "  - !Container {name: PE, spatial: {meshX: 4}}\n"
        "  - !Component {name: reg, class: regfile, attributes: {width: 16, datawidth: 16, depth: 8%s}}\n"
    )
    mapping = [
        {"target": "buffer", "type": "temporal", "factors": "N6 K8 M2"},
        {"target": "inter_PE_spatial", "type": "spatial", "factors": "M2"},
    ]
    energy = {**ENERGY, "reg": {"read": 1.0, "write": 1.0, "leak": 1.0}}
    own = simulate(MATMUL, architecture(depth=100, extra=array % ""), mapping, energy)
    gated = simulate(MATMUL, architecture(depth=100, extra=array % ", power_gated_at: buffer"), mapping, energy)
    assert own.components["reg"].leakage_pj == 2 * own.cycles  # the two in use
    assert gated.components["reg"].leakage_pj == 4 * own.cycles  # all behind the one buffer


def test_narrow_values_share_rows() -> None:
    plain, packed = run(), run(bits={"A": 8, "B": 4})
    spaces = packed.components["buffer"].dataspaces
    assert [spaces[s].capacity for s in "ABZ"] == [1, 3, 2]  # rows of 64 bits: 8 x 8, 48 x 4, 6 x 16
    assert spaces["A"].energy_pj == plain.components["buffer"].dataspaces["A"].energy_pj / 2
    assert spaces["B"].energy_pj == plain.components["buffer"].dataspaces["B"].energy_pj / 4
    assert spaces["Z"].energy_pj == plain.components["buffer"].dataspaces["Z"].energy_pj
    assert [spaces[s].reads for s in "ABZ"] == [192, 192, 168]  # counts are words


def test_wide_values_take_several_rows() -> None:
    spaces = run(depth=100, bits={"A": 100}).components["buffer"].dataspaces
    assert spaces["A"].capacity == 8 * 2
    assert spaces["A"].energy_pj == 192 * 2 * 1.0 + 32 * 2 * 2.0


def test_values_that_do_not_divide_a_row_waste_its_end() -> None:
    assert run(bits={"A": 12}).components["buffer"].dataspaces["A"].energy_pj == 39 * 1.0 + 7 * 2.0  # five in a row


def test_rows_are_what_is_scarce() -> None:
    with pytest.raises(InfeasibleMappingError, match=r"need 17 \(A 2, B 12, Z 3\) rows, 16 rows fit"):
        run(bits={"Z": 24})


def test_narrow_values_need_less_bandwidth() -> None:
    assert run(", read_bandwidth: 2", bits={"A": 8, "B": 4}).cycles == 192  # 96 + 48 + 168 words of 16 bits in 192 cycles
    assert run(", read_bandwidth: 1", bits={"A": 8, "B": 4}).cycles == 312


def test_bits_equal_a_level_for_each_data_space() -> None:
    text = architecture()
    start, end = text.index("  - !Component {name: buffer"), text.index("  - !Component {name: mac")
    level = "    - !Component {name: buffer_%s, class: SRAM, attributes: {width: 64, datawidth: %d, depth: %d}, constraints: {dataspace: {keep: [%s], bypass: %s}}}\n"  # noqa: E501
    others = {"A": "[B, Z]", "B": "[A, Z]", "Z": "[A, B]"}
    nodes = "".join(level % (s, bits, depth, s, others[s]) for s, bits, depth in (("A", 8, 1), ("B", 4, 3), ("Z", 16, 2)))
    split = simulate(
        MATMUL,
        text[:start] + "  - !Parallel\n    nodes:\n" + nodes + text[end:],
        [MAPPING[0], {**MAPPING[1], "target": "buffer_Z"}]
        + [{"target": f"buffer_{s}", "type": "bypass", "keep": [s], "bypass": [x for x in "ABZ" if x != s]} for s in "ABZ"],
        {**{f"buffer_{s}": ENERGY["buffer"] for s in "ABZ"}, "DRAM": ENERGY["DRAM"], "mac": ENERGY["mac"]},
    )
    whole = run(bits={"A": 8, "B": 4})
    assert whole.cycles == split.cycles
    for space in "AB":  # Z's tile differs: in the split form the loops lie inside the levels of A and B
        assert split.components[f"buffer_{space}"].dataspaces[space].fills == whole.components["buffer"].dataspaces[space].fills


@pytest.mark.parametrize("bits", [{"C": 8}, {"A": 0}, {"A": 2.5}])
def test_bits_that_make_no_sense_are_refused(bits: dict[str, int]) -> None:
    with pytest.raises(SpecError, match=r"bits: [AC]: expected a (data space among|whole number)"):
        run(bits=bits)


def test_a_cost_survives_json() -> None:
    cost = run(bits={"A": 8})
    assert LayerCost.from_dict(json.loads(json.dumps(cost.to_dict()))) == cost
