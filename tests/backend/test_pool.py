"""The pool: every answer arrives, errors come through, and no worker outlives the process that made it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwloop.backend.pool import in_processes
from hwloop.errors import InfeasibleMappingError


def _square(value: int) -> int:
    return value * value


def _fail(value: int) -> int:
    raise InfeasibleMappingError(f"no mapping of {value}", "glb")


def test_every_answer_arrives_once() -> None:
    found: dict[int, int] = {}
    in_processes(_square, [(i,) for i in range(20)], 2, found.__setitem__)
    assert found == {i: i * i for i in range(20)}


def test_what_a_task_raises_comes_through() -> None:
    with pytest.raises(InfeasibleMappingError, match="no mapping of 3"):
        in_processes(_fail, [(3,)], 2, lambda at, result: None)


def test_workers_leave_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from hwloop.backend.pool import in_processes\n"
        "def work(folder, name):\n"
        "    open(os.path.join(folder, str(os.getpid())), 'w').close()\n"
        "    time.sleep(600)\n"
        "in_processes(work, [(sys.argv[1], i) for i in range(2)], 2, print)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < deadline, "the workers never began"
        time.sleep(0.02)
    workers = [int(file.name) for file in tmp_path.iterdir()]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(_alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")  # a zombie nobody has reaped yet has left
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
