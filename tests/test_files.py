from __future__ import annotations

import os
from pathlib import Path

import pytest

from hwloop import files
from hwloop.errors import DataError
from hwloop.files import write_file


def test_text_and_bytes_with_their_folders(tmp_path: Path) -> None:
    assert write_file(tmp_path / "a" / "b.txt", "grün") == tmp_path / "a" / "b.txt"
    assert (tmp_path / "a" / "b.txt").read_bytes() == "grün".encode()
    write_file(str(tmp_path / "a" / "b.txt"), b"\x00\x01")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"\x00\x01"
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_link_stays_a_link_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link, dangling = tmp_path / "elsewhere" / "real", tmp_path / "link", tmp_path / "dangling"
    real.write_text("old")
    link.symlink_to(real)
    dangling.symlink_to("elsewhere/later")
    write_file(link, "new")
    write_file(dangling, "first")
    assert (real.read_text(), (tmp_path / "elsewhere" / "later").read_text()) == ("new", "first")
    assert link.is_symlink()
    assert dangling.is_symlink()


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_a_file_keeps_its_mode_and_owner(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
    before = path.stat()
    write_file(path, "new")
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert path.read_text() == "new"


def test_a_new_file_has_the_mode_that_the_user_asks_for(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_file(tmp_path / "file", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_what_is_no_regular_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in ((tmp_path / "pipe", "it is not a regular file"), ("/dev/null", "it is not a regular file")):
        with pytest.raises(DataError, match=rf"cannot write {path} \({reason}\)"):
            write_file(path, "x")
    for path in (tmp_path, Path("/")):
        with pytest.raises(DataError, match="it is a folder"):
            write_file(path, "x")
    assert (tmp_path / "pipe").is_fifo()


def test_names_up_to_the_longest_and_none_longer(tmp_path: Path) -> None:
    write_file(tmp_path / ("x" * 255), "whole")
    with pytest.raises(DataError, match="File name too long"):
        write_file(tmp_path / ("x" * 256), "x")
    with pytest.raises(DataError, match="null byte"):
        write_file(tmp_path / "a\0b", "x")


def test_a_failure_keeps_the_old_content_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot write .*file \(No space left on device\); make room and run again"):
        write_file(path, "new", "make room and run again")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to files without write permission")
def test_a_read_only_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(DataError, match="it is read-only"):
        write_file(path, "new")
