"""The only conversion factors in the project. A name says its unit; anything else is computed from these."""

from __future__ import annotations

PJ_PER_J = 1e12
PJ_PER_UJ = 1e6
PJ_PER_MJ = 1e9
FJ_PER_PJ = 1e3
UM2_PER_MM2 = 1e6
UM2_PER_M2 = 1e12
BITS_PER_BYTE = 8
BYTES_PER_KIB = 1024
BITS_PER_KIB = BITS_PER_BYTE * BYTES_PER_KIB
NS_PER_S = 1e9
MS_PER_S = 1e3
MW_PER_W = 1e3
