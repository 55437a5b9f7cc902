"""Training, and the trained model that a search starts from."""
