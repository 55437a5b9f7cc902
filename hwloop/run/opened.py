"""Reads a run folder, finished or not, without changing it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwloop.backend.target import file_name
from hwloop.errors import DataError
from hwloop.reading import read_text
from hwloop.report.result import Front, read_front
from hwloop.report.run_data import Metrics, RunData
from hwloop.report.saved_layers import SavedTarget, file_of, read_saved
from hwloop.search.log import read_records
from hwloop.search.run_folder import CONFIG, IDENTITY, JSON_BYTES, VERSIONS

FRONT, PLACES = "front.json", "places.json"


def open_run(folder: str | Path) -> RunData:
    """What a run folder holds. What is missing or damaged is left out and named in `notes`.

    Raises:
        DataError: it is no folder of a compression run, or what was asked for cannot be read.
    """
    place = Path(folder)
    if not (place / CONFIG).is_file():
        what = "there is no such folder" if not place.exists() else f"there is no {CONFIG} in it"
        raise DataError(f"{place}: {what}; give the folder of a run, as `hwloop compress --out` or `hwloop demo` makes it")
    config = _read(place / CONFIG)
    if not isinstance(config.get("targets"), list) or not isinstance(config.get("settings"), dict):
        raise DataError(f"{place / CONFIG}: is not the config of a compression run")
    notes: list[str] = []
    versions, document = _read_if(place / VERSIONS, notes), _read_if(place / FRONT, notes)
    fronts = _fronts(document, place / FRONT, notes)
    targets = [str(name) for name in config["targets"]]
    finished = [front.target for front in fronts]
    layers = {name: saved for name in finished if (saved := _saved(place / file_of(file_name(name)), fronts, notes)) is not None}
    evaluated = {name: found for name in targets if (found := _evaluated(place, name, notes))}
    return RunData(place, config, versions, document, fronts, layers, evaluated, tuple(notes))


def places(run: RunData) -> dict[str, Path]:
    """Where a run has its library and its bank."""
    found = _read(run.folder / PLACES) if (run.folder / PLACES).is_file() else {}
    library = run.folder / str(found.get("library", "library"))
    return {"library": library, "bank": run.folder / str(found["bank"]) if "bank" in found else library / "bank"}


def trained_digest(run: RunData) -> str | None:
    """SHA-256 of the trained network that the run compressed, where it says."""
    found = _read(run.folder / IDENTITY) if (run.folder / IDENTITY).is_file() else {}
    return found.get("trained")


def _fronts(document: Mapping[str, Any], file: Path, notes: list[str]) -> tuple[Front, ...]:
    try:
        return tuple(read_front(entry) for entry in document.get("fronts", ()))
    except (DataError, TypeError, AttributeError) as error:
        notes.append(f"{file.name} cannot be read: {error}")
        return ()


def _saved(file: Path, fronts: tuple[Front, ...], notes: list[str]) -> SavedTarget | None:
    if not file.is_file():
        notes.append(f"{file.name} is not there: the run was made before hwloop kept how layers run; run it again with --resume")
        return None
    try:
        saved = read_saved(file)
    except DataError as error:
        notes.append(str(error))
        return None
    front = next((front for front in fronts if front.target == saved.target), None)
    if front is None or len(front.members) != len(saved.members):
        notes.append(f"{file.name} does not belong to {FRONT}")
        return None
    return saved


def _evaluated(place: Path, target: str, notes: list[str]) -> tuple[Metrics, ...]:
    file = place / f"evaluations-{file_name(target)}.jsonl"
    if not file.is_file():
        return ()
    try:
        return tuple(record.metrics for record in read_records(file, fractions=False))
    except DataError as error:
        notes.append(str(error))
        return ()


def _read_if(file: Path, notes: list[str]) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        return _read(file)
    except DataError as error:
        notes.append(str(error))
        return {}


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(file, JSON_BYTES))
    except (DataError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{file} cannot be read: it holds no JSON object")
    return found
