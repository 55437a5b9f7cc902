"""Rows of plain values as pandas frames and as files. The only place that loads pandas."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwloop.errors import DataError, SpecError
from hwloop.files import write_file

if TYPE_CHECKING:
    import pandas

Rows = Sequence[Mapping[str, Any]]
TABLES = (".csv", ".json", ".parquet")


def frame(rows: Rows) -> pandas.DataFrame:
    """The rows as a pandas frame, a column a key."""
    import pandas

    return pandas.DataFrame([dict(row) for row in rows])


def csv_text(rows: Rows) -> str:
    """The rows as CSV with a header; nothing where a value is None."""
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def write_rows(rows: Rows, path: str | Path) -> None:
    """Writes a file in the form that its name ends in: CSV, JSON (a list of objects) or Parquet.

    Raises:
        SpecError: another ending.
        DataError: the disk refuses.
    """
    place = Path(path)
    if place.suffix == ".csv":
        write_file(place, csv_text(rows))
    elif place.suffix == ".json":
        write_file(place, json.dumps(list(rows), indent=1))
    elif place.suffix == ".parquet":
        _write_parquet(rows, place)
    else:
        raise SpecError("<arguments>", str(path), f"a name that ends in {', '.join(TABLES)}", place.suffix)


def _write_parquet(rows: Rows, place: Path) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        frame(rows).to_parquet(place, engine="pyarrow", index=False)
    except OSError as error:
        raise DataError(f"cannot write {place} ({error.strerror or error})") from error
