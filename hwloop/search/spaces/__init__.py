"""The spaces: one module each."""
