import pytest
import torch
from torch import nn

from hwloop.errors import SpecError
from hwloop.network.accuracy.coding import ModelCount, WeightCount, count_model, index_width, layer_size, model_size
from hwloop.network.tracing.registry import Registry, register
from hwloop.network.transforms.prune import Masks, magnitude_masks


@pytest.mark.parametrize("things, bits", [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9)])
def test_index_width_is_the_ceiling_of_log2(things: int, bits: int):
    assert index_width(things) == bits


def test_a_known_matrix_by_hand():
    # 3 x 5 with 4 weights that are not zero, 6 bits each: a column index takes 3 bits, a row index 2, a row pointer
    # tells 0..4 apart with 3 bits and there are 4 of them.
    count = WeightCount(rows=3, columns=5, nonzeros=4)
    assert layer_size("x", count, 6, "normal").size_bits == 15 * 6
    csr = layer_size("x", count, 6, "csr")
    assert (csr.value_bits, csr.index_bits, csr.pointer_bits) == (24, 12, 12)
    coo = layer_size("x", count, 6, "coo")
    assert (coo.value_bits, coo.index_bits, coo.pointer_bits) == (24, 20, 0)
    assert layer_size("x", count, 6, "csr", index_bits=16).size_bits == 24 + 4 * 16 + 4 * 16
    assert layer_size("x", count, 6, "coo", index_bits=32).size_bits == 24 + 4 * 64


def test_an_unknown_coding():
    with pytest.raises(SpecError, match="coding: expected normal or csr or coo, found 'zip'"):
        layer_size("x", WeightCount(1, 1, 1), 8, "zip")


def model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 10))


def registered(net: nn.Module) -> Registry:
    first = next(net.parameters())
    return register(net, torch.zeros(1, first.shape[1], *(4,) * (first.dim() - 2)))


def test_convolution_is_a_matrix_of_output_channels_by_the_rest():
    net = model()
    count = count_model(net, registered(net))
    assert (count.layers["0"].rows, count.layers["0"].columns, count.layers["0"].values) == (4, 27, 108)
    assert (count.layers["3"].rows, count.layers["3"].columns) == (10, 16)


def test_everything_else_counts_at_its_own_precision():
    net = model()
    count = count_model(net, registered(net))
    assert count.other_values == 4 * 4 + 10  # weight, bias, mean, variance of BatchNorm; the bias of the linear layer
    size = model_size(count, 8, other_bits=16)
    assert size.other_size_bits == 26 * 16
    assert size.size_bits == (108 + 160) * 8 + 26 * 16
    assert size.dense_size_bits == (108 + 160 + 26) * 32


def test_zeros_and_masks_are_counted_exactly():
    net = model()
    masks = magnitude_masks(net, registered(net), 0.5)
    by_mask = count_model(net, registered(net), masks)
    masks.apply_(net)
    assert by_mask == count_model(net, registered(net))
    assert by_mask.layers["0"].nonzeros == 54
    with pytest.raises(SpecError, match=r"masks.0: expected a mask of shape \(4, 3, 3, 3\)"):
        count_model(net, registered(net), Masks(registered(net), {"0": torch.ones(3, dtype=torch.bool)}))


def test_csr_of_a_model_against_scipy():
    sparse = pytest.importorskip("scipy.sparse", reason="scipy is not there")
    net = model()
    magnitude_masks(net, registered(net), 0.7).apply_(net)
    size = model_size(count_model(net, registered(net)), {"0": 5, "3": 7}, "csr")
    for layer, module, bits in ((size.layers[0], net[0], 5), (size.layers[1], net[3], 7)):
        matrix = sparse.csr_matrix(module.weight.detach().reshape(module.weight.shape[0], -1).numpy())
        column_width = index_width(matrix.shape[1])
        pointer_width = int(matrix.indptr.max()).bit_length()
        assert layer.value_bits == len(matrix.data) * bits
        assert layer.index_bits == len(matrix.indices) * column_width
        assert layer.pointer_bits == len(matrix.indptr) * pointer_width


def test_compression_of_pruned_four_bit_weights():
    count = ModelCount({"fc": WeightCount(100, 100, 1000)}, other_values=0)
    assert model_size(count, 4).compression == 8
    assert model_size(count, 4, "coo").compression == 10_000 * 32 / (1000 * (4 + 7 + 7))
    assert model_size(count).compression == 1


def test_a_shared_weight_is_stored_once():
    net = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False))
    net[1].weight = net[0].weight
    assert model_size(count_model(net, registered(net)), 8).size_bits == 36 * 8


def test_bits_that_do_not_fit():
    net = model()
    count = count_model(net, registered(net))
    with pytest.raises(SpecError, match=r"weight_bits.conv: expected a layer of the model \(0, 3\)"):
        model_size(count, {"conv": 4})
    with pytest.raises(SpecError, match=r"weight_bits.0: expected a whole number from 1 to 32, found 0"):
        model_size(count, 0)
