from __future__ import annotations

from pathlib import Path

import pytest

from hwloop.errors import DataError
from hwloop.files import write_file


def test_text_and_bytes_are_written_whole_with_their_folders(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a" / "b.txt", "grün\n")
    assert path.read_bytes() == b"gr\xc3\xbcn\n"
    assert write_file(path, b"\x00").read_bytes() == b"\x00"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_a_place_that_refuses_is_named_with_the_advice_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(DataError, match=r"cannot write .*file/x \(.*\); try again"):
        write_file(tmp_path / "file" / "x", "new", "try again")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="what was there before is kept"):
        write_file(tmp_path / "folder", "new")
    assert {p.name for p in tmp_path.iterdir()} == {"file", "folder"}
