"""Sizes beyond which a spec cannot be meant: a bound on what one file can make hwloop do. `docs/limits.md` lists them."""

from __future__ import annotations

# Text
FILE_BYTES = 16_000_000  # of a spec file
TEXT_CHARACTERS = 8_000_000  # of YAML text
NODES = 500_000  # mappings, lists and scalars of a document, an alias counted as what it stands for
DEPTH = 100  # mappings and lists inside one another
KEY_CHARACTERS = 1000  # of a field name
DIGITS = 100  # of a number

# Numbers
WHOLE = 2**63 - 1  # the greatest whole number of a field, either way
COMPUTES = 10**18  # multiply-accumulates of one problem, and values of one of its tensors
INSTANCES = 10**12  # of a component
FACTOR_CHARACTERS = 4000  # of a text of loop factors

# Lists
DIMENSIONS = 32  # of a problem, and coefficients
DATA_SPACES = 16  # of a problem
RANKS = 16  # of a data space, and terms of one rank
LEVELS = 64  # of an accelerator, and networks
TARGETS = 1000  # of a mapping or a constraint set
