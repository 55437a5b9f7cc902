import os
import platform
import threading
from pathlib import Path

import pytest

from hwloop.errors import DataError
from hwloop.network import locks
from hwloop.network.locks import locked


def test_the_second_waits_and_says_for_whom(tmp_path: Path):
    path, order = tmp_path / "new" / ".lock", []
    waits = threading.Event()

    def second() -> None:
        def on_wait(owner: str) -> None:
            order.append(owner)
            waits.set()

        with locked(path, on_wait):
            order.append("second")

    with locked(path, order.append):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(30)
        order.append("first")
    thread.join(30)
    assert order == [f"process {os.getpid()} on {platform.node()}", "first", "second"]


def test_a_lock_that_cannot_be_had_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataError, match=r"cannot lock .*file/.lock .*; make the folder writable"),
        locked(tmp_path / "file" / ".lock"),
    ):
        pass

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with pytest.raises(DataError, match=r"cannot lock .* \(No locks available\)"), locked(tmp_path / ".lock"):
        pass


def test_one_who_does_not_wait_is_told_so(tmp_path: Path):
    with locked(tmp_path / ".lock") as first, locked(tmp_path / ".lock", wait=False) as second:
        assert (first, second) == (True, False)
    with locked(tmp_path / ".lock", wait=False) as again:
        assert again
