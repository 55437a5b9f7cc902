"""The search: genotype, operators, methods, the run folder. pymoo is loaded with `hwloop.search.methods` alone."""
