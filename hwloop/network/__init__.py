"""The torch side: tracing a model to a workload, pruning, quantising, coding, retraining, and measuring accuracy."""
