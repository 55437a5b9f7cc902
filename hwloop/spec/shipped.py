"""What ships with hwloop, by name: accelerators (`arch_specs/`), dataflows (`mappings/`) and estimator data.

Both folders lie at the top of the repository and inside the installed package.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from hwloop.errors import SpecError

ARCHITECTURES = "arch_specs"
MAPPINGS = "mappings"
TABLE_SUFFIX = ".ert"  # arch_specs/eyeriss_168.ert.yaml lies beside arch_specs/eyeriss_168.yaml
_SUFFIX = ".yaml"
_PACKAGE = Path(__file__).resolve().parents[1]


def folder(name: str) -> Path:
    """A shipped folder: inside the installed package, or at the top of the source tree.

    Raises:
        SpecError: it is in neither place, so the installation is broken.
    """
    for place in (_PACKAGE / name, _PACKAGE.parent / name):
        if place.is_dir():
            return place
    raise SpecError(name, "(folder)", f"a folder in {_PACKAGE}", None, "reinstall hwloop: its data files are missing")


def architecture_names() -> tuple[str, ...]:
    """Names of the shipped accelerators, sorted."""
    return tuple(name for name in _names(ARCHITECTURES) if not name.endswith(TABLE_SUFFIX))


def mapping_names() -> tuple[str, ...]:
    """Names of the shipped dataflows, sorted."""
    return _names(MAPPINGS)


def find_architecture(name: str | Path) -> Path:
    """The file of an accelerator, by name or path.

    Raises:
        SpecError: there is none; names what ships and what looks alike.
    """
    return _find(name, ARCHITECTURES, architecture_names(), "accelerator")


def find_mapping(name: str | Path) -> Path:
    """The file of a dataflow's constraints, by name or path.

    Raises:
        SpecError: there is none; names what ships and what looks alike.
    """
    return _find(name, MAPPINGS, mapping_names(), "dataflow")


def find_table(architecture: str | Path) -> Path | None:
    """The energy table that lies beside an accelerator's file, None when there is none."""
    file = find_architecture(architecture)
    table = file.with_name(f"{file.stem}{TABLE_SUFFIX}{_SUFFIX}")
    return table if table.is_file() else None


def shipped_file(name: object, kind: str) -> Path | None:
    """The file that ships under a name, in one of the two folders; None for anything else."""
    found = isinstance(name, str) and name.isidentifier() and folder(kind) / f"{name}{_SUFFIX}"
    return found if found and found.is_file() else None


def _names(kind: str) -> tuple[str, ...]:
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in folder(kind).glob(f"*{_SUFFIX}")))


def _find(name: str | Path, kind: str, shipped: tuple[str, ...], what: str) -> Path:
    text = str(name)
    if text in shipped:
        return folder(kind) / f"{text}{_SUFFIX}"
    path = Path(name)
    if path.is_file():
        return path
    near = get_close_matches(text, shipped, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "check the path"
    raise SpecError(text, "(name)", f"a file, or a shipped {what}: {', '.join(shipped)}", text, hint)
