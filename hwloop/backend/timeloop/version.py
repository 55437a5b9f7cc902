"""The version of how the real Timeloop is asked and read: what is written for it, and what is made of what it prints."""

# Raise it when the same question may get another answer: `tests/data/model_versions.json` holds the digest of what is written and
# read back, and a test fails when they change under the same number. `python tools/record_model_versions.py` writes the new one.
MODEL_VERSION = 2
