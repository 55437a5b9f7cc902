"""The version of the simulator's answers."""

# Raise it when the same question may get another answer: `tests/data/model_versions.json` holds the digest of its answers, and a
# test fails when they change under the same number. `python tools/record_model_versions.py` writes the new one.
MODEL_VERSION = 3
