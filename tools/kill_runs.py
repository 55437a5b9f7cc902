"""Kills commands that write, at random moments, and holds what they leave and what they end with against a run never stopped.

    python tools/kill_runs.py --count 30                       # over all commands, SIGKILL, SIGINT and SIGTERM in turn
    python tools/kill_runs.py --count 8 --command compress --seed 3
    python tools/kill_runs.py --writers 8 --count 20           # processes on one memo table, killed and started again

After each kill: no process of it lives, no temporary file is left (after SIGINT and SIGTERM), and the command started again (with
`--resume` where it has that) ends with the same bytes. Exit status 1 when one of these does not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
PROBLEM = """
problem:
  version: 0.4
  instance: {C: 16, M: 32, R: 3, S: 3, P: 8, Q: 8, N: 1}
  shape:
    name: conv
    dimensions: [C, M, R, S, P, Q, N]
    data_spaces:
    - {name: Weights, projection: [[[C]], [[M]], [[R]], [[S]]]}
    - {name: Inputs, projection: [[[N]], [[C]], [[R], [P]], [[S], [Q]]]}
    - {name: Outputs, projection: [[[N]], [[M]], [[Q]], [[P]]], read_write: true}
"""


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        words: its arguments; `{}` is the folder to write to.
        results: patterns of the files that must come out the same.
        resume: what is added to go on.
    """

    words: tuple[str, ...]
    results: tuple[str, ...]
    resume: tuple[str, ...] = ()


COMMANDS = {
    "map": Command(("map", "{}/problem.yaml", "--arch", "eyeriss_168", "--output", "{}/mapping.yaml", "--memo", "{}/memo.sqlite"),
                   ("mapping.yaml",)),
    "network": Command(("map", "--model", "lenet5", "--image-size", "28", "--arch", "flexible", "--effort", "quick",
    "--workers", "2",
                        "--output", "{}/mappings", "--memo", "{}/memo.sqlite"), ("mappings/*",)),
    "train": Command(("train", "--model", "lenet5", "--epochs", "6", "--out", "{}/w.pt"), ("w.pt",), ("--resume",)),
    "compress": Command(("compress", "--model", "lenet5", "--arch", "flexible", "--dataflow", "xy", "--pruning", "0.3,0.6",
    "--epochs", "1",
                         "--library-epochs", "1", "--generations", "3", "--population", "6", "--effort", "quick", "--workers",
                         "2",
                         "--train-images", "200", "--out", "{}/run", "--memo", "{}/memo.sqlite"),
                        ("run/evaluations-*.jsonl", "run/front.csv"), ("--resume",)),
}  # fmt: skip


def start(command: Command, folder: Path, more: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    (folder / "problem.yaml").write_text(PROBLEM)
    words = [word.replace("{}", str(folder)) for word in (*command.words, *more)]
    return subprocess.Popen(
        [sys.executable, "-m", "hwloop", *words], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
        stdout=(folder / "out.txt").open("ab"), stderr=subprocess.STDOUT,
    )  # fmt: skip


def results(command: Command, folder: Path) -> dict[str, str]:
    """SHA-256 of each result."""
    files = [file for pattern in command.results for file in sorted(folder.glob(pattern)) if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def alive(session: int) -> list[str]:
    """Commands of the processes of a session that are not zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found.append((entry / "cmdline").read_text().replace("\0", " ")[:100])
            except OSError:
                continue
    return found


def one_kill(name: str, reference: dict[str, str], seconds: float, how: signal.Signals, rng: Random) -> list[str]:
    """Kills a run once, looks, runs it again; what was not as it should be."""
    command, faults = COMMANDS[name], []
    folder = Path(tempfile.mkdtemp(prefix="hwloop-kill-"))
    try:
        process = start(command, folder)
        time.sleep(rng.uniform(0.0, seconds))
        if process.poll() is None:
            os.kill(process.pid, how)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            faults.append("still running 60 s after the signal")
            os.killpg(process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while (left := alive(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.2)
        faults += [f"process left: {line}" for line in left]
        temporary = [str(file) for file in folder.rglob(".hwloop-*.tmp")]
        if temporary and how != signal.SIGKILL:
            faults.append(f"temporary files left: {temporary}")
        said = (folder / "out.txt").read_text(errors="replace")
        if "Traceback" in said:
            faults.append(f"a traceback: {said[-600:]}")
        partial = results(command, folder)
        if name in ("map", "train") and partial and partial != reference:
            faults.append("a part of a result stands under its name")
        for _ in range(2):  # the second finds nothing to do, or does it all again
            again = start(command, folder, command.resume)
            if again.wait() != 0:
                faults.append(f"the second run fails: {(folder / 'out.txt').read_text(errors='replace')[-400:]}")
                break
            if results(command, folder) != reference:
                faults.append(f"another end: {results(command, folder)} for {reference}")
                break
            if not command.resume:
                break
        return faults + memo_faults(folder / "memo.sqlite")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def memo_faults(path: Path) -> list[str]:
    """What `hwloop memo check` says of a table, where there is one."""
    if not path.exists():
        return []
    words = [sys.executable, "-m", "hwloop", "memo", str(path), "check", "--sample", "5"]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    return [f"memo check: {done.stdout[-300:]}{done.stderr[-300:]}"] if done.returncode else []


def writers(count: int, kills: int, rng: Random) -> list[str]:
    """So many processes ask one memo table overlapping questions while some are killed; every answer is then simulated again."""
    folder = Path(tempfile.mkdtemp(prefix="hwloop-writers-"))
    try:
        (folder / "p.yaml").write_text(PROBLEM)
        env = {**os.environ, "PYTHONPATH": str(ROOT), "FOLDER": str(folder)}
        code = (
            "import os, random, hwloop\n"
            "from hwloop.memo import Memo\nfrom hwloop.spec.resources import open_architecture, open_table\n"
            "f = os.environ['FOLDER']; problem = hwloop.load_problem(f + '/p.yaml')\n"
            "arch, table = open_architecture('eyeriss_168'), open_table('eyeriss_168')\n"
            "order = [(s, b) for s in range(6) for b in (4, 8, 16)]; random.shuffle(order)\n"
            "memo = Memo(f + '/memo.sqlite')\n"
            "for s, b in order: memo.map_problem(problem, arch, table, bits={'Weights': b}, seed=s, effort='quick')\n"
        )
        running = [
            subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, text=True) for _ in range(count)
        ]
        faults: list[str] = []
        for _ in range(kills):
            time.sleep(rng.uniform(0.2, 3.0))
            at = rng.randrange(count)
            running[at].kill()
            running[at].communicate()
            running[at] = subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, text=True)
        for process in running:
            _, said = process.communicate()
            if process.returncode:
                faults.append(f"a writer failed: {said[-400:]}")
        with sqlite3.connect(folder / "memo.sqlite") as db:
            rows = db.execute("SELECT count(*) FROM results").fetchone()[0]
        if rows != 18:
            faults.append(f"{rows} rows for 18 questions")
        words = [sys.executable, "-m", "hwloop", "memo", str(folder / "memo.sqlite"), "check", "--sample", "1000"]
        done = subprocess.run(words, env=env, capture_output=True, text=True)
        print(done.stdout.strip())
        return faults + ([f"memo check: {done.stdout}{done.stderr}"] if done.returncode else [])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=12, help="kills")
    parser.add_argument("--command", action="append", choices=sorted(COMMANDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--writers", type=int, metavar="N", help="kill among N writers of one memo table instead")
    options = parser.parse_args()
    rng = Random(options.seed)
    if options.writers:
        faults = writers(options.writers, options.count, rng)
        print(f"{options.writers} writers, {options.count} kills, {len(faults)} faults", *faults, sep="\n")
        return 1 if faults else 0
    names = options.command or list(COMMANDS)
    references: dict[str, tuple[dict[str, str], float]] = {}
    bad = 0
    for i in range(options.count):
        name, how = names[i % len(names)], SIGNALS[(i // len(names)) % len(SIGNALS)]
        if name not in references:
            references[name] = reference(name)
        faults = one_kill(name, *references[name], how, rng)
        bad += bool(faults)
        print(f"{i + 1:3} {name} {how.name}: {'; '.join(faults) or 'as it should be'}", flush=True)
    print(f"{options.count} kills, {bad} with faults")
    return 1 if bad else 0


def reference(name: str) -> tuple[dict[str, str], float]:
    """What a run that is not killed ends with, and how long it takes [s]."""
    folder = Path(tempfile.mkdtemp(prefix="hwloop-kill-"))
    try:
        began = time.monotonic()
        process = start(COMMANDS[name], folder)
        if process.wait() != 0:
            raise SystemExit(f"{name} fails: {(folder / 'out.txt').read_text(errors='replace')[-800:]}")
        found = results(COMMANDS[name], folder)
        assert found, f"{name} wrote nothing"
        return found, time.monotonic() - began
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
