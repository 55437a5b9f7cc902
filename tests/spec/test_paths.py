"""Fields of a spec by path."""

from __future__ import annotations

import pytest

import hwloop
from hwloop.errors import SpecError
from hwloop.spec.paths import known_paths, set_fields
from hwloop.spec.shipped import architecture_names, find_architecture
from hwloop.spec.source import read_spec


def document(name: str = "flexible"):
    return read_spec(find_architecture(name))[0]


def loaded(values, name: str = "flexible"):
    return hwloop.load_architecture(set_fields(document(name), values, name))


def test_a_component_is_found_by_its_name_and_the_spec_stays_as_it_is() -> None:
    before = document()
    changed = set_fields(before, {"shared_glb.attributes.depth": 4096, "PE.spatial.meshY": 8}, "flexible")
    arch = hwloop.load_architecture(changed)
    assert (arch.level("shared_glb").depth, arch.level("mac").instances) == (4096, 16 * 8)
    assert before == document()


def test_the_same_field_by_name_and_by_place() -> None:
    assert loaded({"architecture.nodes[2].attributes.depth": 512}) == loaded({"shared_glb.attributes.depth": 512})


def test_every_field_of_every_shipped_accelerator_has_a_path_that_is_found() -> None:
    for name in architecture_names():
        spec = document(name)
        paths = known_paths(spec)
        assert len(paths) > 20
        for path in paths:
            holder = set_fields(spec, {path: None}, name)
            assert holder != spec or path.endswith(("meshX", "meshY")), path


def test_the_expanded_tree_has_the_same_paths() -> None:
    tree = hwloop.load_architecture("eyeriss_168").to_dict()
    arch = hwloop.load_architecture(set_fields(tree, {"psum_spad.attributes.depth": 48}, "tree"))
    assert arch.level("psum_spad").depth == 48


def test_a_known_attribute_that_is_not_there_may_be_set() -> None:
    assert loaded({"shared_glb.attributes.multiple_buffering": 2.0}).level("shared_glb").values["multiple_buffering"] == 2.0
    assert loaded({"PE.spatial.meshX": 2}).level("mac").instances == 2 * 16 * 16


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("shared_glb.attributes.dept", r"did you mean shared_glb\.attributes\.depth\?"),
        ("shard_glb.attributes.depth", r"did you mean shared_glb\.attributes\.depth\?"),
        ("PE.spatial.meshx", r"did you mean PE\.spatial\.meshX"),
        ("shared_glb.depth", r"did you mean shared_glb\.attributes\.depth\?"),
        ("DRAM.attributes.read_bandwith", r"did you mean DRAM\.attributes\.read_bandwidth\?"),
        ("zzz.qqq", r"it has flexible, DRAM, shared_glb"),
        ("architecture.nodes[99].class", r"a field of flexible"),
        ("PE", r"a field of the component"),
        ("architecture.nodes.PE", r"a field, not a whole component"),
        ("a..b", r"a path such as"),
        ("shared_glb.attributes.depth.", r"a path such as"),
        ("[3]", r"a path such as"),
    ],
)
def test_an_unknown_path_names_the_nearest(path: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        set_fields(document(), {path: 1}, "flexible")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("shared_glb.attributes.depth", "many", r"expected a number, as in the spec \(16384\), found 'many'"),
        ("shared_glb.attributes.depth", 2.5, r"expected a whole number, found 2\.5"),
        ("shared_glb.attributes.depth", True, r"expected a number"),
        ("shared_glb.attributes.depth", [1, 2], r"expected a number"),
        ("mac.attributes.multiplier_width", "wide", r"expected a number"),
        ("DRAM.attributes.type", 4, r"expected text"),
        ("shared_glb.class", 4, r"expected text"),
    ],
)
def test_a_value_of_another_kind_is_refused(path: str, value: object, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        set_fields(document(), {path: value}, "flexible")


def test_text_needs_no_quotes_of_its_own() -> None:
    assert loaded({"flexible.attributes.technology": "32nm"}) == loaded({"flexible.attributes.technology": "'32nm'"})


def test_a_name_that_stands_twice_is_no_path() -> None:
    spec = document()
    spec["architecture"]["nodes"].append(dict(spec["architecture"]["nodes"][2]))
    with pytest.raises(SpecError, match=r"a name that stands once.*architecture\.nodes"):
        set_fields(spec, {"shared_glb.attributes.depth": 1}, "flexible")
