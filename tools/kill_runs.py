"""Kills commands that write, in every phase, and holds what they leave and what they end with against a run never stopped.

    python tools/kill_runs.py --count 30                       # over all commands, SIGKILL, SIGINT and SIGTERM in turn
    python tools/kill_runs.py --count 8 --command compress --seed 3
    python tools/kill_runs.py --writers 8 --count 20           # processes on one memo table, killed and started again

A run is killed up to three times, each time in a phase drawn at random (told by the files that are there), and started again
(with `--resume` where it has that). After each kill: no process of it lives, it has printed no traceback, no temporary file is
left (after SIGINT and SIGTERM). At the end: the same bytes and the same files as a run never stopped, and `memo check` is clean.
Exit status 1 when one of these does not hold.
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
from collections import Counter
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
        phases: (name, pattern) in order: the phase has begun when there is a file of the pattern.
        resume: what is added to go on.
        before: commands that run first, and are not killed.
    """

    words: tuple[str, ...]
    results: tuple[str, ...]
    phases: tuple[tuple[str, str], ...] = ()
    resume: tuple[str, ...] = ()
    before: tuple[tuple[str, ...], ...] = ()


MAP = ("map", "{}/problem.yaml", "--arch", "eyeriss_168", "--memo", "{}/memo.sqlite")
COMPRESS = (
    "compress", "--model", "lenet5", "--compression", "magnitude", "--arch", "flexible", "--dataflow", "xy", "--pruning",
    "0.3,0.6", "--epochs", "8", "--library-epochs", "1", "--generations", "3", "--population", "6", "--effort", "quick",
    "--workers", "2", "--train-images", "300", "--out", "{}/run", "--memo", "{}/memo.sqlite",
)  # fmt: skip
LOGS = ("run/evaluations-*.jsonl", "run/front.csv")


def _stage_one(library: str) -> tuple[tuple[str, str], ...]:
    """The phases of a compression."""
    return (("training", "run/config.json"), ("library", f"{library}/trained-*.json"), ("members", f"{library}/**/*0.3*.pt"),
            ("mapping", "run/identity.json"), ("search", "run/evaluations-*.jsonl"), ("report", "run/front.csv"))  # fmt: skip


BANK = ("--compression", "second-order", "--one-shot", "0.5,0.8", "--weight-bits", "3-5", "--calibration-images", "100", "--bank",
        "{}/bank", "--fill-bank")  # fmt: skip
COMMANDS = {
    "map": Command((*MAP, "--output", "{}/mapping.yaml"), ("mapping.yaml",), (("table", "memo.sqlite"),)),
    "network": Command(
        ("map", "--model", "lenet5", "--image-size", "28", "--arch", "flexible", "--effort", "quick", "--workers", "2",
         "--output", "{}/mappings", "--memo", "{}/memo.sqlite"),
        ("mappings/*",), (("table", "memo.sqlite"), ("writing", "mappings/*"))),
    "compare": Command(
        ("compare", "--model", "lenet5", "--image-size", "28", "--channels", "1", "--effort", "quick", "--workers", "2", "--memo",
         "{}/memo.sqlite"),
        (), (("table", "memo.sqlite"),)),
    "repair": Command(("memo", "{}/memo.sqlite", "check", "--sample", "50", "--repair"), (), (), (), ((*MAP,),)),
    "train": Command(("train", "--model", "lenet5", "--epochs", "6", "--out", "{}/w.pt"), ("w.pt",),
                     (("epoch", "w.pt.state"), ("written", "w.pt")), ("--resume",)),
    "compress": Command(COMPRESS, LOGS, _stage_one("run/library"), ("--resume",)),
    "library": Command(
        (*COMPRESS, "--library", "{}/shared", "--library-mode", "gradual"), (*LOGS, "shared/**/*.pt"), _stage_one("shared"),
        ("--resume",)),
    "layerwise": Command(
        (*COMPRESS, "--space", "layerwise", "--method-option", "images=20"), (*LOGS, "run/method-*/divergences.jsonl"),
        (*_stage_one("run/library")[:4], ("measuring", "run/method-*/divergences.jsonl"), *_stage_one("run/library")[4:]),
        ("--resume",)),
    "bank": Command(
        (*COMPRESS, *BANK), (*LOGS, "bank/??/*"),
        (*_stage_one("run/library")[:3], ("filling", "bank/??/*.json"), *_stage_one("run/library")[3:]), ("--resume",)),
    "finetune": Command(
        (*COMPRESS, *BANK[2:6], "--pruning", "0.5", "--finetune", "2", "--finetune-members", "2"),
        (*LOGS, "run/finetuned/*"), (*_stage_one("run/library"), ("tuning", "run/finetuned/*.state")), ("--resume",)),
    "demo": Command(("demo", "--out", "{}/demo"), ("demo/run-1/evaluations-*.jsonl", "demo/run-1/front.csv"),
                    (("library", "demo/library-0/trained-*.json"), ("search", "demo/run-1/evaluations-*.jsonl"))),
}  # fmt: skip


def start(words: tuple[str, ...], folder: Path) -> subprocess.Popen[bytes]:
    """Starts a command in a session of its own; its temporary files go to `tmp` in the folder."""
    (folder / "problem.yaml").write_text(PROBLEM)
    shutil.rmtree(folder / "tmp", ignore_errors=True)  # what a SIGKILL before this left, which nobody could clean up
    (folder / "tmp").mkdir()
    with (folder / "out.txt").open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "hwloop", *(word.replace("{}", str(folder)) for word in words)], cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")}, start_new_session=True, stdout=out,
            stderr=subprocess.STDOUT,
        )  # fmt: skip


def results(command: Command, folder: Path) -> dict[str, str]:
    """SHA-256 of each result."""
    files = [file for pattern in command.results for file in sorted(folder.glob(pattern)) if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def names(folder: Path) -> set[str]:
    """Every file and folder, the two that SQLite may leave beside a table apart."""
    return {str(f.relative_to(folder)) for f in folder.rglob("*") if not f.name.endswith(("-wal", "-shm"))}


def phase(command: Command, folder: Path) -> str:
    """The latest phase that has begun."""
    begun = [name for name, pattern in command.phases if any(folder.glob(pattern))]
    return begun[-1] if begun else "start"


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


@dataclass(frozen=True)
class Reference:
    """What a run that is not killed ends with: its results, all files, and how long it takes [s]."""

    results: dict[str, str]
    names: set[str]
    seconds: float


def kill_once(command: Command, process: subprocess.Popen[bytes], folder: Path, seconds: float, how: signal.Signals, rng: Random
              ) -> tuple[str, list[str]]:  # fmt: skip
    """Kills a run in a phase drawn at random; the phase it was in, and what is wrong after it."""
    wanted, faults = rng.choice((None, *(pattern for _, pattern in command.phases))), []
    while wanted is not None and process.poll() is None and not any(folder.glob(wanted)):
        time.sleep(0.005)
    time.sleep(rng.uniform(0.0, seconds / (1 + len(command.phases))) if rng.random() < 0.7 else rng.uniform(0.0, 0.3))
    where = phase(command, folder) if process.poll() is None else "ended"
    if process.poll() is None:  # a terminal sends Ctrl-C to all processes, a scheduler its signal to one
        os.killpg(process.pid, how) if how == signal.SIGINT and rng.random() < 0.5 else os.kill(process.pid, how)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        faults.append("still running 60 s after the signal")
        os.killpg(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while (left := alive(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.2)
    faults += [f"process left: {line}" for line in left]
    if how != signal.SIGKILL:
        aside = [f for f in (folder / "tmp").iterdir() if not f.name.startswith("torchinductor_")]  # torch's own cache
        faults += [f"left behind: {f}" for f in (*folder.rglob(".hwloop-*.tmp"), *aside)]
    said = (folder / "out.txt").read_text(errors="replace")
    return where, faults + ([f"a traceback: {said[-900:]}"] if "Traceback" in said else [])


def kills_of_one_run(name: str, reference: Reference, hows: list[signal.Signals], rng: Random) -> list[tuple[str, list[str]]]:
    """Kills a run so many times, starting it again in between, and lets it end; of each kill the phase and what was wrong."""
    command, out = COMMANDS[name], []
    folder = Path(tempfile.mkdtemp(prefix="hwloop-kill-"))
    try:
        for words in command.before:
            start(words, folder).wait()
        for i, how in enumerate(hows):
            process = start((*command.words, *(command.resume if i else ())), folder)
            out.append(kill_once(command, process, folder, reference.seconds, how, rng))
            if out[-1][1]:
                return out
            partial = results(command, folder)
            if name in ("map", "train") and partial and partial != reference.results:
                out[-1][1].append("a part of a result stands under its name")
        for _ in range(2 if command.resume else 1):  # the second finds nothing to do
            if start((*command.words, *command.resume), folder).wait() != 0:
                out[-1][1].append(f"the last run fails: {(folder / 'out.txt').read_text(errors='replace')[-400:]}")
            elif results(command, folder) != reference.results:
                out[-1][1].append(f"another end: {results(command, folder)} for {reference.results}")
        hard = signal.SIGKILL in hows  # nobody can clean up after that in a folder for temporary files
        more = {f for f in names(folder) - reference.names if not (hard and f.startswith("tmp/"))}
        out[-1][1].extend(f"a file more: {f}" for f in sorted(more))
        out[-1][1].extend(memo_faults(folder / "memo.sqlite"))
        return out
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
    parser.add_argument("--command", action="append", choices=sorted(COMMANDS), help="all but demo unless given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--writers", type=int, metavar="N", help="kill among N writers of one memo table instead")
    options = parser.parse_args()
    rng = Random(options.seed)
    if options.writers:
        faults = writers(options.writers, options.count, rng)
        print(f"{options.writers} writers, {options.count} kills, {len(faults)} faults", *faults, sep="\n")
        return 1 if faults else 0
    chosen = options.command or [name for name in COMMANDS if name != "demo"]
    references: dict[str, Reference] = {}
    phases: Counter[str] = Counter()
    done = bad = run = 0
    while done < options.count:
        name = chosen[run % len(chosen)]
        run += 1
        if name not in references:
            references[name] = reference(name)
        hows = [SIGNALS[(done + i) % len(SIGNALS)] for i in range(min(rng.choice((1, 1, 2, 3)), options.count - done))]
        for how, (where, faults) in zip(hows, kills_of_one_run(name, references[name], hows, rng), strict=False):
            done += 1
            bad += bool(faults)
            phases[f"{name}: {where}"] += 1
            print(f"{done:3} run {run} {name} {where} {how.name}: {'; '.join(faults) or 'as it should be'}", flush=True)
    print(*(f"{n:4} {where}" for where, n in sorted(phases.items())), sep="\n")
    print(f"{done} kills of {run} runs, {bad} with faults")
    return 1 if bad else 0


def reference(name: str) -> Reference:
    """Runs a command without a kill."""
    command, folder = COMMANDS[name], Path(tempfile.mkdtemp(prefix="hwloop-kill-"))
    try:
        for words in command.before:
            start(words, folder).wait()
        began = time.monotonic()
        if start(command.words, folder).wait() != 0:
            raise SystemExit(f"{name} fails: {(folder / 'out.txt').read_text(errors='replace')[-800:]}")
        found = results(command, folder)
        assert found or not command.results, f"{name} wrote nothing"
        return Reference(found, names(folder), time.monotonic() - began)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
