"""What was measured on the Eyeriss chip, and why a model of it must differ.

Y.-H. Chen, T. Krishna, J. Emer, V. Sze, "Eyeriss: An Energy-Efficient Reconfigurable Accelerator for Deep Convolutional Neural
Networks", IEEE JSSC 52(1), 2017: tables III (mapping parameters), V (AlexNet) and VI (VGG-16). The figures are of the whole
batch at 1 V, a 200 MHz core and a 60 MHz link; power is the chip's, without DRAM.
"""

from __future__ import annotations

COLUMNS = ("layer", "power_mw", "total_ms", "processing_ms", "gmac", "active_pes", "ifmap_zeros_pct", "glb_mb", "dram_mb")
ALEXNET = (
    ("C1", 332, 20.9, 16.5, 0.42, 154, 0.01, 18.5, 5.0),
    ("C2", 288, 41.9, 39.2, 0.90, 135, 38.7, 77.6, 4.0),
    ("C3", 266, 23.6, 21.8, 0.60, 156, 72.5, 50.2, 3.0),
    ("C4", 235, 18.4, 16.0, 0.45, 156, 79.3, 37.4, 2.1),
    ("C5", 236, 10.5, 10.0, 0.30, 156, 77.6, 24.9, 1.3),
)
VGG16 = (
    ("1-1", 247, 76.2, 38.0, 0.26, 156, 1.6, 112.6, 15.4),
    ("1-2", 218, 910.3, 810.6, 5.55, 156, 47.7, 2402.8, 54.0),
    ("2-1", 242, 470.3, 405.3, 2.77, 156, 24.8, 1201.4, 33.4),
    ("2-2", 231, 894.3, 810.8, 5.55, 156, 38.7, 2402.8, 48.5),
    ("3-1", 254, 241.1, 204.0, 2.77, 156, 39.7, 607.4, 20.2),
    ("3-2", 235, 460.9, 408.1, 5.55, 156, 58.1, 1214.8, 32.2),
    ("3-3", 233, 457.7, 408.1, 5.55, 156, 58.7, 1214.8, 30.8),
    ("4-1", 278, 135.8, 105.1, 2.77, 168, 64.3, 321.8, 17.8),
    ("4-2", 261, 254.8, 210.0, 5.55, 168, 74.7, 643.7, 28.6),
    ("4-3", 240, 246.3, 210.0, 5.55, 168, 85.4, 643.7, 22.8),
    ("5-1", 258, 54.3, 48.3, 1.39, 168, 79.4, 90.0, 6.3),
    ("5-2", 236, 53.7, 48.5, 1.39, 168, 87.4, 90.0, 5.7),
    ("5-3", 230, 53.7, 48.5, 1.39, 168, 88.5, 90.0, 5.6),
)
# m, n, e, p, q, r, t of JSSC table III: output channels and images held in the buffer, output rows of a PE set, filters and
# channels of a PE, PE sets over channels and over filters.
ROW_STATIONARY = {
    "C1": (96, 1, 7, 16, 1, 1, 2), "C2": (64, 1, 27, 16, 2, 1, 1), "C3": (64, 4, 13, 16, 4, 1, 4),
    "C4": (64, 4, 13, 16, 3, 2, 2), "C5": (64, 4, 13, 16, 3, 2, 2),
}  # fmt: skip
BATCH = {"alexnet": 4, "vgg16": 3}
QUANTITIES = ("processing_ms", "total_ms", "active_pes", "glb_mb", "dram_mb", "power_mw")
CAUSES = (
    "processing_ms: the model counts multiply cycles alone; the chip also fills and drains its PE sets between passes. The paper "
    "gives no mapping for VGG-16: it is hwloop's, whose passes are longer than the chip's, as the buffer traffic shows.",
    "total_ms: the model overlaps every transfer with computing and stretches by the scarcest bandwidth; the chip waits for the "
    "first tiles of a pass and for weights.",
    "active_pes: the model averages over the strips of a layer (AlexNet C1: 55 rows in strips of 7), the chip's figure is of a "
    "full strip. For VGG-16 as hwloop's mapper spreads the layer for energy x delay.",
    "glb_mb: the model counts inputs and partial sums, not the weights that pass the chip's buffer; it moves every partial sum "
    "to and from the buffer once a pass and reads the rows that neighbouring strips share again.",
    "dram_mb: a layer's outputs take the zeros of the next layer's inputs. Where no pooling comes between (AlexNet C3, C4) these "
    "are the outputs' own; elsewhere pooling has filled zeros in, and the model moves too much. For VGG-16 the mapping differs.",
    "power_mw: memories and multipliers alone; the chip's clock network, control, network and pads are not in the model.",
)
