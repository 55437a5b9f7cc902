"""A sweep as a YAML file: what a command line cannot hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.document import Fields, read_document

_SIZES = ("channels", "image_size", "classes", "batch")


@dataclass(frozen=True)
class SweepFile:
    """What a file says; what it leaves out has the defaults of `hwloop.sweep`.

    Attributes:
        fields: values by path.
        points: points written out; None where there are none.
        archs, dataflows: names and files.
        models: arguments of `named_workload`, the name under `name`.
        workloads: files.
        weight_bits, activation_bits, density, input_density: one value or a list.
        energy, objective, effort, seed: as in `hwloop.sweep`.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    points: list[dict[str, Any]] | None = None
    archs: tuple[str, ...] = ()
    dataflows: tuple[str, ...] = ()
    models: tuple[dict[str, Any], ...] = ()
    workloads: tuple[str, ...] = ()
    weight_bits: Any = None
    activation_bits: Any = None
    density: Any = 1.0
    input_density: Any = 1.0
    energy: str = "shipped"
    objective: str = "edp"
    effort: str = "normal"
    seed: int = 0


def read_sweep_file(path: str | Path) -> SweepFile:
    """Reads a sweep's file. Names of files in it are taken from its own folder.

    Raises:
        SpecError: with the file and the field.
    """
    document, name = read_document(Path(path))
    top = Fields(document, name, "")
    inner = top.sub("sweep") if "sweep" in top else top
    assert inner is not None
    here = Path(path).parent
    found: dict[str, Any] = {
        "fields": inner.take("fields", dict, {}),
        "points": inner.items_of("points") or None,
        **{key: tuple(_place(here, each) for each in _words(inner, key)) for key in ("archs", "dataflows")},
        **_networks(inner, here),
    }
    for key in ("weight_bits", "activation_bits", "density", "input_density"):
        found[key] = inner.raw(key, getattr(SweepFile, key))
    for key, kind in (("energy", str), ("objective", str), ("effort", str), ("seed", int)):
        found[key] = inner.take(key, kind, getattr(SweepFile, key))
    inner.finish()
    return SweepFile(**found)


def _networks(inner: Fields, here: Path) -> dict[str, Any]:
    models: list[dict[str, Any]] = []
    workloads: list[str] = []
    listed: list[Any] = inner.items_of("networks")
    for number, entry in enumerate(listed):
        block = Fields({"model": entry} if isinstance(entry, str) else entry, inner.source, f"networks[{number}]")
        if "workload" in block:
            workloads.append(str(here / block.take("workload", str)))
        else:
            models.append({"name": block.take("model", str)} | {key: block.take(key, int) for key in _SIZES if key in block})
        block.finish()
    return {"models": tuple(models), "workloads": tuple(workloads)}


def _words(inner: Fields, name: str) -> list[str]:
    given = inner.raw(name)
    if given is None:
        return []
    words = [given] if isinstance(given, str) else given
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise SpecError(inner.source, inner.where(name), "a name, or a list of names and files", given)
    return words


def _place(here: Path, word: str) -> str:
    """A file beside the sweep's, else the word itself: a shipped name or a path."""
    return str(here / word) if (here / word).is_file() else word
