"""The answers of a compressed network to the search: accuracy, densities and size, from a plan alone."""
