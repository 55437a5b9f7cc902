"""Models by name and their checkpoints."""
