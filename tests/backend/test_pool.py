"""The pool: every answer arrives, errors come through, and no worker outlives the process that made it."""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwloop.backend.pool import in_processes
from hwloop.errors import SimulatorError, SpecError
from hwloop.spec.bits import check_bits

from .conftest import small_network


def test_every_answer_arrives_once() -> None:
    found: dict[int, int] = {}
    in_processes(operator.mul, [(i, i) for i in range(20)], 2, found.__setitem__)
    assert found == {i: i * i for i in range(20)}


def test_what_a_task_raises_comes_through() -> None:
    with pytest.raises(SpecError, match="bits: expected a whole number from 1 to 64, found 0"):
        in_processes(check_bits, [(0, "bits")], 2, lambda at, result: None)


def test_a_killed_worker_is_named_with_what_it_worked_on() -> None:
    with pytest.raises(SimulatorError, match=r"a worker process was killed while it worked on conv1: most often .* memory"):
        in_processes(os._exit, [(3,)], 2, lambda at, result: None, ["conv1"])


def test_an_interrupt_stops_the_workers() -> None:
    def interrupt(at: int, result: object) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        in_processes(time.sleep, [(0.0,), (60.0,), (60.0,)], 2, interrupt)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_workers_start_leaves_no_traceback_and_no_worker(number: signal.Signals) -> None:
    """Ctrl-C goes to all processes of a terminal, the fork server and workers in the midst of starting among them."""
    code = (
        "import operator, signal, sys\n"
        "from hwloop.backend.pool import in_processes\n"
        "for number in (signal.SIGINT, signal.SIGTERM):  # a background shell starts programs that ignore the first\n"
        "    signal.signal(number, signal.default_int_handler)\n"
        "try:\n"
        "    print(flush=True)\n"
        "    while True: in_processes(operator.mul, [(2, i) for i in range(8)], 8, lambda at, result: None)\n"
        "except KeyboardInterrupt: print('stopped', flush=True)\n"
    )
    for wait in (0.0, 0.1, 0.3, 0.6):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen([sys.executable, "-c", code], start_new_session=True, **pipes) as process:
            assert process.stdout.readline() == "\n"
            time.sleep(wait)
            os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
            said, errors = process.communicate(timeout=60)  # ends when the last of them has closed its standard error
        assert (said, errors, process.returncode) == ("stopped\n", "", 0)


_SCRIPT = """
print("once")
import sys
from hwloop.run import map_network
from hwloop.spec.workload import load_workload
cost = map_network(load_workload(sys.argv[1]), "flexible", "row_stationary", effort="quick", workers=2)
print(len(cost.layers), "layers")
"""


@pytest.mark.parametrize("how", ["script", "command", "stdin"])
def test_no_program_needs_a_main_guard_or_runs_twice(how: str, tmp_path: Path) -> None:
    network, script = tmp_path / "network.yaml", tmp_path / "script.py"
    network.write_text(small_network().to_yaml())
    script.write_text(_SCRIPT)
    arguments = {"script": [str(script)], "command": ["-c", _SCRIPT], "stdin": ["-"]}[how]
    done = subprocess.run(
        [sys.executable, *arguments, str(network)], input=_SCRIPT, capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.split() == ["once", "3", "layers"]
    assert done.stderr == ""


def test_workers_leave_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from hwloop.backend.pool import in_processes\n"
        "from hwloop_test_work import work\n"
        "in_processes(work, [(sys.argv[1], i) for i in range(2)], 2, print)\n"
    )
    module, tmp_path = tmp_path / "module", tmp_path / "workers"
    module.mkdir()
    tmp_path.mkdir()
    (module / "hwloop_test_work.py").write_text(
        "import os, time\n"
        "def work(folder, name):\n"
        "    open(os.path.join(folder, str(os.getpid())), 'w').close()\n"
        "    time.sleep(600)\n"
    )
    paths = os.pathsep.join([str(module), *filter(None, [os.environ.get("PYTHONPATH")])])
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=os.environ | {"PYTHONPATH": paths})
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
