"""The file that a training goes on from after a stop. Nothing in it is executed."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hwloop.errors import DataError
from hwloop.files import write_file

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A place for the state of one training.

    Attributes:
        path: of the file.
        identity: plain data by name, all that the training's result depends on.
    """

    path: Path
    identity: Mapping[str, Any]

    def save(self, state: Mapping[str, Any]) -> None:
        """Writes tensors and plain data in one go; the state before stays until then.

        Raises:
            DataError: the disk refuses.
        """
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, "identity": _text(self.identity), **state}, buffer)
        write_file(self.path, buffer.getvalue(), "the state of the epoch before is kept: make room and resume")

    def load(self) -> dict[str, Any] | None:
        """The state kept, None where there is none.

        Raises:
            DataError: it is damaged, of another version, or of a training that was asked for something else.
        """
        content = read_checkpoint(self.path)
        if content is None:
            return None
        there, now = json.loads(content["identity"]), json.loads(_text(self.identity))
        if there != now:
            raise DataError(
                f"{self.path}: is of another training: {_difference(there, now)}; "
                "resume with what it was started with, or remove the file to start anew"
            )
        return content


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """All that a checkpoint holds, of whatever training; None where there is no file.

    Raises:
        DataError: it is damaged, no checkpoint of a training, or of another version.
    """
    advice = "remove it to start the training anew"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            bad = archive.testzip()  # torch does not look at the checksums
        if bad is not None:
            raise ValueError(f"{bad} has another checksum")
        content = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged file makes zipfile and torch raise anything
        raise DataError(f"{path}: is damaged, or no checkpoint of a training ({error}); {advice}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("identity"), str):
        raise DataError(f"{path}: is no checkpoint of a training of this version; {advice}")
    return content


def _text(identity: Mapping[str, Any]) -> str:
    return json.dumps(identity, sort_keys=True)


def _difference(there: Any, now: Any, where: str = "") -> str:
    """The first thing in which two identities differ, in words."""
    if isinstance(there, dict) and isinstance(now, dict):
        for name in sorted({*there, *now}):
            if there.get(name) != now.get(name):
                return _difference(there.get(name), now.get(name), f"{where}.{name}" if where else name)
    return f"its {where} is {there}, asked for is {now}"
