"""From a running torch model to a workload: what is multiplied, which parameter holds whose weights, which channels belong."""
