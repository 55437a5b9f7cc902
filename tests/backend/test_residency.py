"""Feature maps that stay on chip, and the work between layers."""

from __future__ import annotations

from functools import cache
from itertools import chain, combinations

import pytest

from hwloop import InfeasibleMappingError
from hwloop.backend.candidates import CandidateCosts
from hwloop.backend.distinct import Distinct
from hwloop.backend.embedded import Embedded
from hwloop.backend.memory_plan import MapPlaces, MemoryPlanner
from hwloop.backend.network_cost import LayerShare, NetworkCost
from hwloop.backend.network_maps import NetworkMaps, network_maps
from hwloop.backend.operations import OperationCosts
from hwloop.backend.request import MapperSettings, request_for
from hwloop.backend.residency import Residency, level_for_maps, resident_architecture, rows_for
from hwloop.backend.target import Target, make_targets
from hwloop.backend.whole_network import map_network
from hwloop.mapper import check
from hwloop.mapper.result import MapResult
from hwloop.memo.key import request_key
from hwloop.simulator import Stream, Streams
from hwloop.spec.constraints import Constraints, LoopConstraint
from hwloop.spec.feature_maps import FeatureMap, Operation
from hwloop.spec.plan import Plan, make_plan
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.workload import Layer, Workload

SETTINGS = MapperSettings("energy", "quick")


@cache
def block() -> Workload:
    """A residual block behind a first layer: a -> b -> c, with a's map added to c's, then pooled, then d."""
    conv = {"C": 8, "M": 8, "R": 3, "S": 3, "P": 8, "Q": 8}
    layers = [
        Layer("a", make_problem(conv2d_shape(), {**conv, "C": 3}, name="a"), "conv", parameter="a.weight", inputs=()),
        Layer("b", make_problem(conv2d_shape(), conv, name="b"), "conv", parameter="b.weight", inputs=("a",)),
        Layer("c", make_problem(conv2d_shape(), conv, name="c"), "conv", parameter="c.weight", inputs=("b",)),
        Layer("d", make_problem(conv2d_shape(), {"C": 8, "M": 10}, name="d"), "linear", parameter="d.weight", inputs=("a", "c")),
    ]
    maps = (
        FeatureMap("input", 3 * 100, "", (("a", "Inputs"),)),
        FeatureMap("a", 512, "a", (("b", "Inputs"), ("add", "")), measured=(("b", "Inputs"),)),
        FeatureMap("b", 512, "b", (("c", "Inputs"),), measured=(("c", "Inputs"),)),
        FeatureMap("c", 512, "c", (("pool", ""),), measured=(("d", "Inputs"),)),
        FeatureMap("pool", 8, "pool", (("d", "Inputs"),), measured=(("d", "Inputs"),)),
        FeatureMap("d", 10, "d", output=True),
    )
    work = (Operation("add", "join", ("a",), ("c",), "c"), Operation("pool", "pass", ("c",), ("pool",), "c"))
    shapes = tuple((f"{n}.weight", (8, 8)) for n in "abcd")
    return Workload("block", tuple(layers), shapes, maps=maps, operations=work, input_bits=8)


@cache
def target(name: str = "eyeriss_168", activations: str = "resident") -> Target:
    [found] = make_targets(name, None, "shipped", activations)
    return found


@cache
def plan(bits: int | None = 4, density: float = 1.0) -> Plan:
    return make_plan(block(), density, density, bits, bits)


def maps(chosen: Plan | None = None) -> NetworkMaps:
    chosen = chosen or plan()
    return network_maps(block(), chosen, chosen.apply(block()))


@cache
def backend() -> Distinct:
    return Distinct(Embedded(1))


def test_maps_live_from_their_writer_to_their_last_reader() -> None:
    found = maps().maps
    lives = {name: (each.writer, each.born, each.last, each.external) for name, each in found.items()}
    assert lives == {
        "input": (None, -1, 0, True), "a": (0, 0, 2, False), "b": (1, 1, 2, False), "c": (2, 2, 2, False),
        "pool": (None, 2, 3, False), "d": (3, 3, 3, True),
    }  # fmt: skip
    assert found["a"].bits == 4
    assert found["input"].bits == 8


def test_rows_of_a_level() -> None:
    level = target().arch.level("shared_glb")  # rows of four words of 16 bits
    assert rows_for(level, 512, 4) == 512 / 16
    assert rows_for(level, 512, None) == 512 / 4
    assert rows_for(level, 10, 5) == 1
    assert rows_for(level, 3, 100) == 6


def test_what_stays_where_for_each_layer() -> None:
    chosen = plan()
    places = MapPlaces(chosen.apply(block()), maps(), target(), step=10**9)
    assert places.level == "shared_glb"
    assert set(places.candidates) == {"a", "b", "c", "pool"}  # the input and the scores go outside
    assert places.residency(0, ["a"]) == Residency("shared_glb", ("Outputs",), 0)
    assert places.residency(1, ["a"]) == Residency("shared_glb", ("Inputs",), 0)
    assert places.residency(2, ["a"]) == Residency("shared_glb", (), 32)  # waits for the add
    assert places.residency(2, ["a", "b"]) == Residency("shared_glb", ("Inputs",), 32)
    assert places.residency(3, ["a", "b"]) is None


@pytest.mark.parametrize("name", ["eyeriss_168", "tpu_like", "eyeriss_168_gating"])
def test_a_resident_map_passes_the_levels_outside_and_is_kept_whole(name: str) -> None:
    chosen, own = plan(), target(name)
    layer = chosen.apply(block())[1]
    level = level_for_maps(own.arch.with_constraints(own.constraints))
    assert level is not None
    request = request_for(layer, own, SETTINGS, residency=Residency(level, ("Inputs", "Outputs"), 8))
    [found] = backend().map([request])
    assert isinstance(found, MapResult)
    assert check(found.mapping, request.problem, request.arch) == []
    outer = own.arch.storage[0].name
    assert set(found.cost.components[outer].dataspaces) == {"Weights"}
    spaces = found.cost.components[level].dataspaces
    assert spaces["Outputs"].tile_size == 512
    assert spaces["Outputs"].finished_updates == 512
    assert spaces["Inputs"].tile_size == layer.problem.tensor_size("Inputs")
    plain = request_for(layer, own, SETTINGS)
    assert (
        len({request_key(r, "x") for r in (plain, request, request_for(layer, own, SETTINGS, residency=Residency(level)))}) == 3
    )
    assert found.cost.energy_pj < backend().map([plain])[0].cost.energy_pj  # type: ignore[union-attr]


def test_without_a_level_that_holds_inputs_and_outputs_nothing_stays() -> None:
    assert level_for_maps(target("shidiannao_like").arch) is None
    assert mapped(plan(), "shidiannao_like", "resident").resident == ()


def test_reserved_rows_are_taken_off() -> None:
    own, problem = target(), plan().apply(block())[1].problem
    less = resident_architecture(own.arch, problem, Residency("shared_glb", (), 100))
    assert less.level("shared_glb").entries == own.arch.level("shared_glb").entries - 400  # type: ignore[operator]
    assert less.level("shared_glb").block_size == own.arch.level("shared_glb").block_size
    with pytest.raises(InfeasibleMappingError, match="other feature maps hold all of its rows"):
        resident_architecture(own.arch, problem, Residency("shared_glb", (), 13824))


def test_a_dataflow_that_wants_a_loop_outside_is_refused() -> None:
    own, problem = target(), plan().apply(block())[1].problem
    outside = own.arch.with_constraints(Constraints((LoopConstraint("DRAM", "temporal", (("P", "=", 2),)),)))
    with pytest.raises(InfeasibleMappingError, match="DRAM must hold P=2"):
        resident_architecture(outside, problem, Residency("shared_glb", ("Inputs",)))


def test_operations_read_and_write_maps_where_they_wait() -> None:
    own = target()
    table = own.table().component("DRAM")
    read, write = table.energy_pj("read"), table.energy_pj("write")
    (add, joined), (pool, pooled) = OperationCosts(own).of(maps())
    assert (add, pool) == ("add", "pool")
    assert joined.energy_pj == {"DRAM": 32 * read}  # 512 values of 4 bits, 64 bits a row
    assert pooled.energy_pj == {"DRAM": 32 * read + 1 * write}
    assert joined.cycles == 107  # 512 values of 4 bits are 128 words of 16, 1.2 a cycle
    resident = dict(OperationCosts(own).of(maps(), ("a", "pool"), "shared_glb"))
    inside = own.table().component("shared_glb")
    assert resident["add"].energy_pj == {"shared_glb": 32 * inside.energy_pj("read")}
    assert resident["pool"].energy_pj == {"DRAM": 32 * read, "shared_glb": inside.energy_pj("write")}


def test_a_coded_stream_moves_its_nonzeros_and_their_coordinates() -> None:
    arch = target("eyeriss_168_gating").arch
    streams = Streams(arch, target("eyeriss_168_gating").table())
    dense, half, tenth = (streams.cost([Stream("DRAM", 4096, 16, d)]) for d in (1.0, 0.5, 0.1))
    assert dense.energy_pj["DRAM"] > half.energy_pj["DRAM"] > tenth.energy_pj["DRAM"]
    assert dense.cycles > half.cycles > tenth.cycles
    plain = Streams(target().arch, target().table()).cost([Stream("DRAM", 4096, 16, 0.5)])
    assert half.energy_pj["DRAM"] < plain.energy_pj["DRAM"] < dense.energy_pj["DRAM"]


def mapped(chosen: Plan, name: str, activations: str) -> NetworkCost:
    return map_network(block(), target(name, activations), backend(), chosen, SETTINGS)


@pytest.mark.parametrize("name", ["eyeriss_168", "tpu_like", "eyeriss_168_gating"])
@pytest.mark.parametrize("bits", [None, 4])
def test_residency_never_costs_more(name: str, bits: int | None) -> None:
    chosen = plan(bits, 0.5 if "gating" in name else 1.0)
    streamed, resident = mapped(chosen, name, "streamed"), mapped(chosen, name, "resident")
    assert streamed.resident == ()
    assert resident.energy_pj <= streamed.energy_pj
    assert len(resident.layers) == len(streamed.layers) == 4
    assert [work.name for work in resident.operations] == ["add", "pool"]


def test_the_plan_found_is_the_best_of_all_sets() -> None:
    own = target()
    base = tuple(
        LayerShare.of(r.layer, o)
        for r in [request_for(layer, own, SETTINGS) for layer in plan().apply(block())]
        for o in backend().map([r])
        if isinstance(o, MapResult)
    )
    planner = MemoryPlanner(block(), plan(), own, SETTINGS, backend(), base)
    found, _ = planner.find()
    assert found is not None
    names = planner.places.candidates
    sets = list(chain.from_iterable(combinations(names, n) for n in range(len(names) + 1)))
    planner._ask(sets)
    assert planner._value(found.maps) == min(planner._value(each) for each in sets)


def test_fewer_activation_bits_never_cost_a_network_more() -> None:
    energies = [mapped(plan(bits), "eyeriss_168", "streamed").energy_pj for bits in (16, 8, 4, 2)]
    assert energies == sorted(energies, reverse=True)


@pytest.mark.parametrize("name", ["eyeriss_168", "eyeriss_168_gating"])
def test_candidates_cost_what_the_network_does(name: str) -> None:
    model = CandidateCosts(block(), target(name), SETTINGS, backend())
    reference = model.prepare(plan(16), [plan(4, 0.5)])
    assert reference.energy_pj == mapped(plan(16), name, "resident").energy_pj
    assert reference.resident
    [quick], [full] = model.costs([plan(4, 0.5)]), model.remap([plan(4, 0.5)])
    assert quick is not None
    assert full is not None
    assert full.energy_pj <= quick.energy_pj
    assert quick.resident
    streamed = CandidateCosts(block(), target(name, "streamed"), SETTINGS, backend())
    streamed.prepare(plan(16), [plan(4, 0.5)])
    [plain] = streamed.costs([plan(4, 0.5)])
    assert plain is not None
    assert quick.energy_pj < plain.energy_pj
    assert not plain.resident
