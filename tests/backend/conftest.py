"""The small dataflows and energies of the mapper's tests."""

from ..mapper.conftest import energies  # noqa: F401
