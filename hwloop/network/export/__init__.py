"""A compressed network as files that other programs read, and back."""
