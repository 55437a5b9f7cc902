from __future__ import annotations

import pytest

from hwloop import SpecError
from hwloop.validate.layers import distinct, network_layers


@pytest.mark.parametrize(
    ("network", "layers", "different", "gmac"),
    [("alexnet", 8, 8, 0.724), ("vgg16", 16, 12, 15.47), ("mobilenet", 28, 20, 0.569)],  # as the papers count them
)
def test_layers_and_operations(network: str, layers: int, different: int, gmac: float) -> None:
    found = network_layers(network)
    assert (len(found), len(distinct(found))) == (layers, different)
    assert len({problem.name for problem in found}) == layers
    assert sum(problem.computes for problem in found) / 1e9 == pytest.approx(gmac, rel=1e-3)


def test_layers_follow_one_another() -> None:
    sizes = {problem.name: problem.sizes for problem in network_layers("vgg16")}
    assert (sizes["conv3_2"]["C"], sizes["conv3_2"]["M"], sizes["conv3_2"]["P"]) == (256, 256, 56)
    assert (sizes["fc6"]["C"], sizes["fc6"]["R"], sizes["fc6"]["P"]) == (512, 7, 1)
    mobile = network_layers("mobilenet")
    assert mobile[-2].sizes["P"] == 7
    assert "M" not in mobile[1].sizes  # depthwise


def test_equal_layers_keep_the_first_name() -> None:
    assert [p.name for p in distinct(network_layers("vgg16"))][5:8] == ["conv3_2", "conv4_1", "conv4_2"]


def test_an_unknown_network() -> None:
    with pytest.raises(SpecError, match="networks among alexnet, vgg16, mobilenet, found 'lenet'"):
        network_layers("lenet")
