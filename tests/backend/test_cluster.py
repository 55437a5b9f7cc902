"""Work on a Dask cluster: the same answers, workers that die, schedulers that are not there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import hwloop
from hwloop.backend import cluster
from hwloop.backend.cluster import LostTasks, answer_on_cluster, check_address, connect
from hwloop.backend.embedded import Embedded, map_one
from hwloop.backend.find import find_backend
from hwloop.backend.request import MapperSettings, MapRequest
from hwloop.errors import HwloopError, SimulatorError, SpecError
from hwloop.memo import Memo
from hwloop.spec.problem import conv2d_shape, make_problem

from .conftest import small_network

HERE = str(Path(__file__).parent)


@pytest.fixture(scope="module")
def two_workers():
    pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([HERE, *filter(None, [before])])  # workers find the tests' module `killers`
    sys.path.insert(0, HERE)
    yield "local:2"
    cluster._close(cluster._clients.pop("local:2"))
    sys.path.remove(HERE)
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before


def requests_for(names: list[str], told: Path | None = None) -> list[MapRequest]:
    arch = hwloop.load_architecture("flexible")
    table = hwloop.estimate_energy_table(arch)
    flow = hwloop.load_constraints("row_stationary")
    return [
        MapRequest(
            make_problem(conv2d_shape(), {"C": 4, "M": 4 + at, "R": 3, "S": 3, "P": 6, "Q": 6}), arch, table, flow, None,
            MapperSettings("edp", "quick"), (), str(told or "net"), name,
        )
        for at, name in enumerate(names)
    ]  # fmt: skip


def same(found, expected) -> bool:
    return [outcome.cost for outcome in found] == [outcome.cost for outcome in expected]


def test_a_cluster_answers_what_this_process_does_and_one_writes_the_table(two_workers: str, tmp_path: Path) -> None:
    requests = requests_for([f"conv{i}" for i in range(6)])
    with Memo(tmp_path / "memo.sqlite") as memo:
        told: list[int] = []
        found = memo.remember(find_backend("embedded", two_workers)).map(requests, lambda at, *_: told.append(at))
        assert sorted(told) == list(range(6))
        assert memo.statistics.misses == 6
        again = memo.remember(Embedded(1)).map(requests)
        assert (memo.statistics.hits, memo.statistics.misses) == (6, 6)
    here = Embedded(1).map(requests)
    assert same(found, here)
    assert same(again, here)


def test_a_network_a_sweep_and_a_search_take_the_address_as_workers(two_workers: str) -> None:
    there = hwloop.map_network(small_network(), "flexible", "row_stationary", effort="quick", workers=two_workers)
    here = hwloop.map_network(small_network(), "flexible", "row_stationary", effort="quick", workers=1)
    assert (there.energy_pj, there.cycles) == (here.energy_pj, here.cycles)
    swept = hwloop.sweep(small_network(), "flexible", None, "row_stationary", effort="quick", workers=two_workers)
    assert [row.energy_pj for row in swept.rows] == [here.energy_pj]


def test_a_worker_killed_half_way_loses_its_task_alone(two_workers: str, tmp_path: Path) -> None:
    from killers import answer_or_die

    told = tmp_path / "begun"
    requests = requests_for(["slow"], told) + requests_for([f"conv{i}" for i in range(5)])

    def kill() -> None:
        deadline = time.monotonic() + 100
        while not (told.exists() and told.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(int(told.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    asked: list[str] = []
    found = answer_on_cluster(answer_or_die, requests, two_workers, lambda _at, request, _outcome: asked.append(request.layer))
    killer.join()
    assert sorted(asked) == sorted(request.layer for request in requests)
    assert same(found, [map_one(request) for request in requests])


def test_a_task_that_kills_three_workers_is_named_and_the_rest_is_answered(two_workers: str, tmp_path: Path) -> None:
    from killers import answer_or_die

    deaths = tmp_path / "deaths"
    requests = (
        requests_for(["conv0", "conv1"]) + requests_for(["killer"], deaths) + requests_for([f"conv{i}" for i in range(2, 6)])
    )
    answered: dict[str, object] = {}
    with pytest.raises(LostTasks, match=r"no answer for .*killer: 3 workers died at it") as lost:
        answer_on_cluster(answer_or_die, requests, two_workers, lambda _at, r, outcome: answered.__setitem__(r.layer, outcome))
    assert [request.layer for request in lost.value.requests] == ["killer"]
    assert sorted(answered) == [f"conv{i}" for i in range(6)]
    assert len(deaths.read_text().split()) == 3
    assert len(set(deaths.read_text().split())) == 3


def test_what_a_task_raises_comes_here(two_workers: str) -> None:
    request = requests_for(["conv0"])[0]
    broken = MapRequest(request.problem, request.arch, request.ert, request.constraints, None, MapperSettings("edp", "hard"))
    with pytest.raises(ValueError, match="effort: expected one of"):
        answer_on_cluster(map_one, [broken], two_workers)


def test_a_worker_of_another_version_is_refused(two_workers: str, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "_VERSIONS", "mapper 0, simulator 0")
    with pytest.raises(SimulatorError, match="another hwloop than this process"):
        answer_on_cluster(map_one, requests_for(["conv0"]), two_workers)


def test_a_scheduler_that_is_not_there_is_said_quickly(monkeypatch, capsys) -> None:
    pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    with socket.socket() as taken:  # a port that nobody listens at
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SimulatorError, match=rf"no Dask scheduler answers at {address}.*dask scheduler"):
            find_backend("embedded", address)
    with pytest.raises(SimulatorError, match=r"nowhere\.json.*no such file"):
        connect("nowhere.json")


NONE = ["", "local:", "local:0", "local:5000", "localhost", "http://a:1", "host:port", "tcp://", "a b:1"]
SOME = ["10.0.0.1:8786", "tcp://host:8786", "tls://a.b-c.d:1", "local:4", "/x/scheduler.json", "[::1]:8786"]


@pytest.mark.parametrize("address", NONE)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(SpecError, match="--scheduler: expected"):
        check_address(address)


@pytest.mark.parametrize("address", SOME)
def test_addresses(address: str) -> None:
    assert check_address(address) == address


def test_without_distributed_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda _name: None)
    with pytest.raises(HwloopError, match=r"pip install 'hwloop\[cluster\]'"):
        connect("127.0.0.1:1")


def test_a_scheduler_that_goes_away_is_said(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    file = tmp_path / "scheduler.json"
    from killers import answer_or_die

    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard", "--port", "0", "--host", "127.0.0.1"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")])}
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-dashboard", "--death-timeout", "20"]
    hidden = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    with (
        subprocess.Popen([*command, "--scheduler-file", str(file)], **hidden) as scheduler,  # type: ignore[call-overload]
        subprocess.Popen([*worker, "--scheduler-file", str(file)], **hidden) as working,  # type: ignore[call-overload]
    ):
        try:
            deadline = time.monotonic() + 60
            while not file.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            told = tmp_path / "begun"

            def kill() -> None:
                while not told.exists():
                    time.sleep(0.05)
                scheduler.kill()

            threading.Thread(target=kill, daemon=True).start()
            with pytest.raises(SimulatorError, match=r"the Dask scheduler at .* is gone"):
                answer_on_cluster(answer_or_die, requests_for(["slow"], told), str(file))
        finally:
            scheduler.kill()
            working.kill()
