"""Single layers compressed by second-order methods, and the store that keeps them: what candidates are put together from."""
