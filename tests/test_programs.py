from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hwloop.errors import SimulatorError
from hwloop.programs import find_program, run_program, tail

MakeProgram = Callable[[str, str], str]


def test_returns_status_and_both_outputs(make_program: MakeProgram, tmp_path: Path) -> None:
    program = make_program("talk", "import sys; print('out', sys.argv[1]); print('err', file=sys.stderr); sys.exit(3)")
    status, log = run_program([program, "word"], tmp_path, timeout_s=30)
    assert status == 3
    assert sorted(log.split()) == ["err", "out", "word"]
    assert (tmp_path / "talk.log").read_text() == log


def test_runs_in_its_folder(make_program: MakeProgram, tmp_path: Path) -> None:
    program = make_program("where", "import os; print(os.getcwd())")
    place = tmp_path / "place"
    place.mkdir()
    assert run_program([program], place, timeout_s=30)[1].strip() == str(place)


def test_a_program_that_hangs_is_killed_with_its_children(make_program: MakeProgram, tmp_path: Path) -> None:
    program = make_program(
        "hang",
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "print('half way', flush=True)\n"
        "time.sleep(60)",
    )
    with pytest.raises(SimulatorError, match=r"hang took over 1\.5 s and was stopped") as caught:
        run_program([program], tmp_path, timeout_s=1.5)
    assert caught.value.log_tail == "half way"
    assert caught.value.returncode is None
    child = int((tmp_path / "child").read_text())
    for _ in range(200):
        if not _alive(child):
            break
        time.sleep(0.02)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_crash_is_named_with_the_end_of_the_log(make_program: MakeProgram, tmp_path: Path) -> None:
    program = make_program(
        "crash", "import os, sys; print('line 1\\n\\nlast words', flush=True); os.kill(os.getpid(), 6)"
    )  # fmt: skip
    with pytest.raises(SimulatorError, match=r"crash crashed \(SIGABRT\)") as caught:
        run_program([program], tmp_path, timeout_s=30)
    assert caught.value.log_tail == "line 1\nlast words"
    assert caught.value.returncode == -6


def test_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match="cannot be started"):
        run_program([str(tmp_path / "nothing-here")], tmp_path, timeout_s=30)
    assert find_program("nothing-here") is None


def test_the_tail_is_short() -> None:
    lines = tail("\n\n".join(str(i) for i in range(100))).splitlines()
    assert lines[-1] == "99"
    assert len(lines) == 15
