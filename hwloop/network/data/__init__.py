"""Data sets in three parts, by name or a caller's own."""
