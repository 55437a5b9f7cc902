"""Sweeps over accelerators: the designs, the rows that are kept, the running, and the call."""
