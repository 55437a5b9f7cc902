from __future__ import annotations

from hwloop.network.tracing.operations import convolution, product


def sizes(posed: object) -> dict[str, int]:
    problem = posed.problem  # type: ignore[attr-defined]
    coefficients = {name: value for name, value in problem.coefficient_values.items() if value != 1}
    return {name: size for name, size in problem.sizes.items() if size != 1} | coefficients


def test_width_is_r_and_p_height_is_s_and_q() -> None:
    posed = convolution((16, 3, 3, 5), (2, 3, 40, 50), (2, 16, 19, 12), stride=(2, 4), dilation=(1, 2), groups=1)
    assert posed.kind == "conv"
    assert sizes(posed) == {
        "N": 2,
        "C": 3,
        "M": 16,
        "R": 5,
        "S": 3,
        "P": 12,
        "Q": 19,
        "Wstride": 4,
        "Hstride": 2,
        "Wdilation": 2,
    }
    # the window must end inside the input: 1 + 2*(5-1) + 4*(12-1) = 53 > 50 shows 3 columns of padding
    assert posed.problem.rank_sizes("Inputs") == (2, 3, 53, 39)
    assert posed.problem.tensor_size("Weights") == 16 * 3 * 3 * 5


def test_one_value_of_stride_and_dilation_stands_for_both() -> None:
    posed = convolution((4, 4, 3, 3), (1, 4, 9, 9), (1, 4, 3, 3), stride=(2,), dilation=(2,), groups=1)
    assert sizes(posed) == {
        "C": 4,
        "M": 4,
        "R": 3,
        "S": 3,
        "P": 3,
        "Q": 3,
        "Wstride": 2,
        "Hstride": 2,
        "Wdilation": 2,
        "Hdilation": 2,
    }


def test_1d_lies_along_the_width() -> None:
    posed = convolution((6, 4, 3), (5, 4, 20), (5, 6, 9), stride=(2,), dilation=(1,), groups=1)
    assert sizes(posed) == {"N": 5, "C": 4, "M": 6, "R": 3, "P": 9, "Wstride": 2}


def test_depthwise_has_no_m() -> None:
    posed = convolution((8, 1, 3, 3), (1, 8, 5, 5), (1, 8, 5, 5), stride=(1, 1), dilation=(1, 1), groups=8)
    assert posed.kind == "depthwise"
    assert sizes(posed) == {"C": 8, "R": 3, "S": 3, "P": 5, "Q": 5}
    assert posed.problem.computes == 8 * 9 * 25
    assert posed.problem.tensor_size("Outputs") == 8 * 25


def test_depthwise_with_a_multiplier_is_grouped() -> None:
    posed = convolution((16, 1, 3, 3), (1, 8, 5, 5), (1, 16, 5, 5), stride=(1, 1), dilation=(1, 1), groups=8)
    assert posed.kind == "grouped"
    assert sizes(posed) == {"G": 8, "M": 2, "R": 3, "S": 3, "P": 5, "Q": 5}


def test_grouped_counts_channels_per_group() -> None:
    posed = convolution((32, 4, 1, 1), (1, 16, 7, 7), (1, 32, 7, 7), stride=(1, 1), dilation=(1, 1), groups=4)
    assert (posed.kind, sizes(posed)) == ("grouped", {"G": 4, "C": 4, "M": 8, "P": 7, "Q": 7})
    assert posed.problem.tensor_size("Inputs") == 16 * 49
    assert posed.problem.tensor_size("Weights") == 32 * 4


def test_products() -> None:
    linear, attention = product(10, 20, 30), product(5, 6, 7, batch=8, weighted=False)
    assert (linear.kind, sizes(linear)) == ("linear", {"N": 10, "C": 20, "M": 30})
    assert (attention.kind, sizes(attention)) == ("matmul", {"G": 8, "N": 5, "C": 6, "M": 7})
    assert [attention.problem.tensor_size(d) for d in ("Weights", "Inputs", "Outputs")] == [8 * 6 * 7, 8 * 5 * 6, 8 * 5 * 7]
