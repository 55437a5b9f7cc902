"""Where an energy table comes from: a file, the shipped figures, hwcomponents, Accelergy."""

from hwloop.energy.estimate import SOURCES, area_mm2, area_um2, check_covers, estimate_energy_table, follows_sizes

__all__ = ["SOURCES", "area_mm2", "area_um2", "check_covers", "estimate_energy_table", "follows_sizes"]
