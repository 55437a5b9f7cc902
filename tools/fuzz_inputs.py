"""Damages inputs and looks for raw tracebacks, hangs and memory: anything but `HwloopError` is a fault of hwloop.

    python tools/fuzz_inputs.py --count 2000                       # so many cases, spread over the kinds
    python tools/fuzz_inputs.py --count 500 --kind mapping --seed 7 --keep faults/
    python tools/fuzz_inputs.py --kind mapping --seed 7 --only 123   # one case again, in this process

Cases run in child processes, under a limit of memory and with a watchdog. Exit status 1 when there is a fault.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from random import Random

from tests.fuzz.cases import RUNS, make_case, run_case
from tests.fuzz.store_cases import STORES

KINDS = (*sorted(RUNS), *STORES)

WATCHDOG_S = 20.0  # of the processor, so that a busy machine makes no hang
WAITING_S = 120.0
MEMORY_LIMIT = 4 << 30  # bytes of address space of a child, so that a runaway fails by itself
PEAK_MB = 1024
CHUNK = 50


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(jobs: list[tuple[str, int, int]], out: Connection) -> None:
    """Runs cases; sends (index, None) before each and (index, (outcome, detail, peak [MB])) after it."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    for i, (kind, seed, number) in enumerate(jobs):
        out.send((i, None))
        try:
            outcome = run(kind, seed, number)
            result = ("read" if outcome == "read" else "refused", outcome)
        except Exception:  # whatever it is, it is a fault to be shown
            result = ("fault", traceback.format_exc())
        out.send((i, (*result, peak_mb())))
    out.close()


def run(kind: str, seed: int, number: int) -> str:
    return STORES[kind](Random(f"{seed}-{kind}-{number}")) if kind in STORES else run_case(make_case(kind, seed, number))


def run_jobs(jobs: list[tuple[str, int, int]]) -> list[tuple[str, str, float]]:
    """The outcome of each job; a child that dies or hangs is replaced after the case that it died of."""
    results: list[tuple[str, str, float]] = []
    context = multiprocessing.get_context("fork")
    while len(results) < len(jobs):
        done = len(results)
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=child, args=(jobs[done:], send))
        process.start()
        send.close()
        while len(results) < len(jobs):
            try:
                if not watched(receive, process.pid or 0):
                    results.append(("hang", f"over {WATCHDOG_S:g} s of work, or {WAITING_S:g} s of waiting", 0.0))
                    process.kill()
                    break
                _, result = receive.recv()
            except (EOFError, OSError):
                process.join()
                results.append(("died", f"exit code {process.exitcode}", 0.0))
                break
            if result is not None:
                results.append(result)
        process.join(timeout=5)
    return results


def watched(receive: Connection, pid: int) -> bool:
    """Waits for the child's next word; False when it works or waits for too long."""
    began, before = time.monotonic(), cpu_s(pid)
    while not receive.poll(1.0):
        if cpu_s(pid) - before > WATCHDOG_S or time.monotonic() - began > WAITING_S:
            return False
    return True


def cpu_s(pid: int) -> float:
    """Seconds of the processor that a process has used; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    frames = [line.strip() for line in lines if line.strip().startswith("File ") and "hwloop" in line]
    return f"{lines[-1][:160]}  {frames[-1] if frames else ''}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--kind", action="append", choices=KINDS, help="may be given several times; all unless given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the inputs of faults")
    parser.add_argument("--only", type=int, help="run this one case in this process, and show what it says")
    options = parser.parse_args()
    kinds = options.kind or list(KINDS)
    if options.only is not None:
        if kinds[0] in RUNS:
            print(
                str(make_case(kinds[0], options.seed, options.only).content)[:3000].encode("ascii", "backslashreplace").decode()
            )
        print(run(kinds[0], options.seed, options.only))
        return 0
    if set(kinds) & set(STORES):
        import_module("hwloop.run.compression")  # torch loads before the first case is timed
    jobs = [(kinds[i % len(kinds)], options.seed, i // len(kinds)) for i in range(options.count)]
    began, outcomes, faults, peak = time.perf_counter(), Counter[tuple[str, str]](), [], 0.0
    for first in range(0, len(jobs), CHUNK):
        part = jobs[first : first + CHUNK]
        for (kind, seed, number), (outcome, detail, used) in zip(part, run_jobs(part), strict=True):
            if used > PEAK_MB and peak <= PEAK_MB and outcome != "fault":
                outcome, detail = "memory", f"{used:.0f} MB"
            peak = max(peak, used)
            outcomes[kind, outcome] += 1
            if outcome not in ("read", "refused"):
                faults.append((kind, number, outcome, last_line(detail)))
                print(f"{outcome} {kind} --only {number}: {last_line(detail)}", flush=True)
                keep(options.keep, kind, seed, number, detail)
    for kind in kinds:
        counts = ", ".join(f"{n} {what}" for (k, what), n in sorted(outcomes.items()) if k == kind)
        print(f"{kind:14} {counts}")
    print(f"{len(jobs)} cases, {len(faults)} faults, peak {peak:.0f} MB, {time.perf_counter() - began:.0f} s")
    return 1 if faults else 0


def keep(folder: Path | None, kind: str, seed: int, number: int, detail: str) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    if kind in RUNS:
        content: Any = make_case(kind, seed, number).content
        raw = content if isinstance(content, bytes) else str(content).encode("utf-8", "surrogatepass")
        (folder / f"{kind}-{seed}-{number}.input").write_bytes(raw)
    (folder / f"{kind}-{seed}-{number}.txt").write_text(detail)


if __name__ == "__main__":
    sys.exit(main())
