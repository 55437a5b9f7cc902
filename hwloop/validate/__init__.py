"""Programs outside hwloop behind its own interfaces: Timeloop as a simulator and mapper, Accelergy as a source of energies."""
