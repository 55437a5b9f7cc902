"""Cases of what hwloop keeps and reads: memo tables, run folders, checkpoints, data roots, command lines."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import math
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import hwloop
from hwloop.backend.embedded import Embedded
from hwloop.backend.request import MapperSettings, MapRequest
from hwloop.cli.main import main
from hwloop.errors import HwloopError
from hwloop.mapper.result import MapResult
from hwloop.memo import Memo, Store, check
from hwloop.memo.queries import find_rows, summary
from hwloop.search.log import COUNTED
from hwloop.search.records import LayerRecord, Record
from hwloop.search.run_folder import RunFolder
from hwloop.spec.plan import load_plan
from hwloop.spec.resources import open_architecture, open_table

from .bank_cases import bank_case
from .corpus import PLAN, ROOT, WORKLOAD, problem
from .mutators import NUMBERS, TEXTS, Raw, mutate, mutate_bytes, written

ODD = (
    None,
    "",
    "x",
    "é" * 50,
    b"\xff\xfe\x00",
    b"",
    "null",
    "[]",
    "{}",
    '"/dev/zero"',
    "[" * 2000,
    "1e999",
    "NaN",
    -1,
    0,
    1.0,
    2**62,
    math.inf,
)


def _scratch(kind: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"hwloop-fuzz-{kind}-"))


@cache
def _memo_template() -> tuple[bytes, tuple[MapRequest, ...], dict[MapRequest, Any]]:
    """A small table as bytes, what was asked, and the answers."""
    arch, table = open_architecture("eyeriss_168"), open_table("eyeriss_168")
    assert table is not None
    requests = tuple(
        MapRequest(
            hwloop.load_problem(problem(1.0)), arch, table, None, bits, MapperSettings("edp", "quick", 0), (), "net", f"l{i}"
        )
        for i, bits in enumerate((None, {"Weights": 4}, {"Weights": 17, "Inputs": 9}))
    )
    folder = _scratch("memo")
    try:
        memo = Memo(folder / "memo.sqlite")
        answers = memo.remember(Embedded(workers=1)).map(requests)
        memo.store.query("PRAGMA wal_checkpoint(TRUNCATE)")
        memo.close()
        return (folder / "memo.sqlite").read_bytes(), requests, dict(zip(requests, answers, strict=True))
    finally:
        shutil.rmtree(folder)


def _damage_table(path: Path, rng: Random) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        columns = [row[1] for row in db.execute("PRAGMA table_info(results)")] or ["key"]
        for _ in range(rng.choice((1, 1, 2, 4))):
            what = rng.random()
            column = rng.choice(columns)
            if what < 0.6:
                value = rng.choice(ODD)
                if rng.random() < 0.5:
                    [old] = db.execute(f"SELECT {column} FROM results LIMIT 1").fetchone()
                    if isinstance(old, str) and old[:1] in "[{":
                        value = written(mutate(json.loads(old), rng)).encode("utf-8", "replace").decode()
                    elif isinstance(old, (int, float)):
                        value = rng.choice((old + 1, -old, old * 10, str(old), 1.0))
                db.execute(f"UPDATE {rng.choice(('OR REPLACE', 'OR IGNORE'))} results SET {column} = ?", (value,))
            elif what < 0.7:
                db.execute("UPDATE documents SET document = ?", (rng.choice(ODD) or "",))
            else:
                db.execute(rng.choice((
                    "DROP TABLE documents", "DROP TABLE results", f"ALTER TABLE results DROP COLUMN {column}",
                    "PRAGMA user_version = 99",
                    f"ALTER TABLE results RENAME COLUMN {column} TO other", "PRAGMA application_id = 7",
                    "PRAGMA user_version = -1",
                    "CREATE TABLE mine (x)", "DELETE FROM documents", "ALTER TABLE results RENAME TO more",
                    "PRAGMA user_version = 0",
                    "CREATE TRIGGER t BEFORE INSERT ON results BEGIN SELECT RAISE(FAIL, 'no'); END", "VACUUM",
                    "PRAGMA user_version = 1",
                )))  # fmt: skip
    except (sqlite3.Error, OverflowError, ValueError):
        pass  # this damage cannot be done
    finally:
        db.close()


def memo_case(rng: Random) -> str:
    """A damaged table is read, asked, checked, repaired; what it serves is the truth."""
    content, requests, truth = _memo_template()
    folder = _scratch("memo")
    path = folder / "memo.sqlite"
    try:
        if rng.random() < 0.4:
            content = mutate_bytes(content, rng)
            for _ in range(rng.choice((0, 0, 1, 100))):
                at = rng.randrange(max(len(content) - 16, 1))
                content = content[:at] + rng.randbytes(16) + content[at + 16 :]
        path.write_bytes(content if rng.random() < 0.97 else rng.choice((b"", b"x" * 5000, content[:4096])))
        if rng.random() < 0.7:
            with contextlib.suppress(sqlite3.Error):
                _damage_table(path, rng)
        return _several([
            lambda: _ask(path, requests, truth, rng.random() < 0.5), lambda: _checked(path),
            lambda: (summary(Store(path, read_only=True)), find_rows(Store(path, read_only=True), {}, False, 5)),
            lambda: _quiet(main, ["memo", str(path), rng.choice(("stats", "show", "check")),
            *(["--json"] if rng.random() < 0.5 else [])]),
            lambda: _quiet(main, ["memo", str(path), "query", "SELECT * FROM results", "--json"]),
        ])  # fmt: skip
    finally:
        shutil.rmtree(folder)


def _ask(path: Path, requests: tuple[MapRequest, ...], truth: dict[MapRequest, Any], read_only: bool) -> None:
    with Memo(path, read_only=read_only) as memo:
        answers, _ = memo.lookup(requests, Embedded.identity)
        served = list(answers.values())
    for answer in served:
        if isinstance(answer, MapResult):
            known = [t for t in truth.values() if isinstance(t, MapResult)]
            same = any(t.cost.energy_pj == answer.cost.energy_pj and t.mapping == answer.mapping for t in known)
            assert same, "a wrong answer is served"
        else:
            assert any(str(t) == str(answer) for t in truth.values() if type(t) is type(answer)), "a wrong reason is served"


def _checked(path: Path) -> None:
    store = Store(path)
    try:
        check(store, sample=2, repair=True)
        again = check(store, sample=2)
        assert not again.damaged, "damaged rows are left after a repair"
    finally:
        store.close()


def _several(parts: list[Callable[[], Any]]) -> str:
    """Runs all parts; refused when one was."""
    outcome = "read"
    for part in parts:
        try:
            part()
        except HwloopError as error:
            outcome = f"refused: {error}"
    assert "\x1b" not in outcome, "a control character in a message"
    return outcome


def _quiet(run: Callable[[list[str]], int], argv: list[str]) -> None:
    """Runs a command; it may fail, in a few lines on standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(argv)
    assert code in (0, 1, 2), f"exit code {code}"
    said = err.getvalue()
    assert "Traceback" not in said, said
    assert "\x1b" not in said, "a control character in a message"
    if code:
        lines = [line for line in said.splitlines() if not line.startswith(("usage:", " ", "hwloop: warning:"))]
        assert len(lines) <= 3 or "memo" in argv, f"{len(lines)} lines: {said[:800]}"
        raise HwloopError(f"exit code {code}: {said[-300:]}")


CONFIG: dict[str, Any] = {"model": "x", "settings": {"seed": 1, "objectives": ["accuracy", "energy"]}}


def _records() -> list[Record]:
    plan = load_plan(PLAN)
    layers = (LayerRecord("a", 3.0, 40), LayerRecord("b", 4.0, 50))
    metrics = {"accuracy": 0.9, "energy_pj": 7.0, "cycles": 90.0, "edp": 630.0, "size_bits": 1000.0, "macs": 5000.0}
    return [Record(load_plan({"plan": {**PLAN["plan"], "base": f"p=0.{i}"}}), metrics, layers) for i in range(1, 4)] + [
        Record(plan, metrics)
    ]


def run_folder_case(rng: Random) -> str:
    """A damaged run folder is resumed: nothing outside is touched, no nonsense is taken for a number."""
    folder, outside = _scratch("run"), _scratch("outside")
    path = folder / "run"
    (outside / "file").write_text("outside\n")
    try:
        with RunFolder(path, CONFIG, {"hwloop": "1"}) as run:
            run.pin({"data": "abc"})
            log = run.log("all")
            for record in _records()[:3]:
                log.append(record)
            log.close()
        files = sorted(p for p in path.iterdir() if p.name != ".lock" or rng.random() < 0.1)
        for _ in range(rng.choice((1, 1, 2))):
            _damage_file(rng.choice([*files, path / "evaluations-all.jsonl", path / "evaluations-all.jsonl"]), outside, rng)

        def resume() -> None:
            with RunFolder(path, CONFIG, {"hwloop": "1"}, resume=True) as run:
                run.pin({"data": "abc"})
                log = run.log("all")
                try:
                    for found in log.records():
                        _check_record(found)
                    log.append(_records()[3])
                finally:
                    log.close()
                run.write_csv("front.csv", [{"a": 1}])

        outcome = _several([resume])
        _several([lambda: _quiet(main, ["report", str(path)])])
        assert (outside / "file").read_text() == "outside\n", "a file outside the run folder was written"
        assert sorted(p.name for p in outside.iterdir()) == ["file"], "a file was made outside the run folder"
        return outcome
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(outside)


def _check_record(record: Record) -> None:
    for name, value in record.metrics.items():
        assert math.isfinite(value), f"{name} is {value}"
        assert value >= 0 or name not in (*COUNTED, "accuracy"), f"{name} is {value}"
        assert value <= 1 or name != "accuracy", f"{name} is {value}"
    for layer in record.layers:
        assert math.isfinite(layer.energy_pj), f"{layer.name}: {layer.energy_pj}"
        assert layer.energy_pj >= 0, f"{layer.name}: {layer.energy_pj}"
        assert layer.cycles >= 0, f"{layer.name}: {layer.cycles}"


def _damage_file(path: Path, outside: Path, rng: Random) -> None:
    what = rng.random()
    if what < 0.15 or path.is_symlink() or not path.is_file():
        if path.exists() or path.is_symlink():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        kind = rng.choice(("symlink", "new symlink", "folder", "fifo", "gone", "device", "loop"))
        if kind in ("symlink", "new symlink"):
            path.symlink_to(outside / ("file" if kind == "symlink" else "new"))
        elif kind == "folder":
            path.mkdir()
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/null")
        elif kind == "loop":
            path.symlink_to(path)
    elif what < 0.5:
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
    else:
        text = path.read_text(errors="replace")
        lines = text.splitlines() if path.suffix == ".jsonl" else [text]
        at = rng.randrange(len(lines)) if lines else 0
        if lines:
            with contextlib.suppress(ValueError):
                lines[at] = written(mutate(json.loads(lines[at]), rng))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="replace")


def checkpoint_case(rng: Random) -> str:
    """A damaged checkpoint is loaded into a network."""
    import torch

    from hwloop.network.weights_file import read_weights
    from hwloop.network.zoo.models import load_weights

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten(), torch.nn.Linear(8, 3))
    state: dict[Any, Any] = dict(model.state_dict())
    if rng.random() < 0.6:
        for _ in range(rng.choice((1, 2))):
            key = rng.choice(list(state))
            old = state[key]
            plain = isinstance(old, torch.Tensor) and old.dtype == torch.float32 and old.layout == torch.strided
            t = old if plain and not old.is_nested else torch.zeros(2)
            state[key] = rng.choice((
                t * math.nan, t * math.inf, t.double(), t.half(), t.to(torch.complex64), t.bool(), t.int(),
                t.to_sparse() if t.dim() and not t.is_meta else t, t[None],
                t.reshape(-1), t.to("meta"), "text", None, 3, [t], {"a": t}, np.zeros(2), torch.zeros(0),
                torch.nn.Parameter(t.float()), t.bfloat16(),
                t.expand(1000000, *t.shape) if t.dim() < 2 else t, torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8),
                set(), b"x", Path("x"),
                t.to(torch.float8_e4m3fn), torch.nested.nested_tensor([torch.zeros(2)]),
            ))  # fmt: skip
            if rng.random() < 0.3:
                state[rng.choice((3, None, "", "module.module.x", "a\x1b[2J", ("t",), f"module.{key}"))] = state.pop(key)
    if rng.random() < 0.2:
        wrapped: list[Any] = [
            {"state_dict": state},
            {"model": {"net": state}},
            [state],
            {"state_dict": [state]},
            {},
            {"net": state},
        ]
        state = rng.choice(wrapped)
    buffer = io.BytesIO()
    try:
        torch.save(state, buffer, _use_new_zipfile_serialization=rng.random() < 0.7)
    except Exception:  # what torch itself cannot save is no case
        return "read"
    content = buffer.getvalue()
    if rng.random() < 0.4:
        content = mutate_bytes(content, rng)
    handle, name = tempfile.mkstemp()
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)

        def load() -> None:
            load_weights(model, name)
            finite = all(bool(torch.isfinite(t).all()) for t in model.state_dict().values() if t.is_floating_point())
            assert finite, "NaN weights accepted"

        return _several([lambda: read_weights(name), load])
    finally:
        os.unlink(name)


def data_case(rng: Random) -> str:
    """A damaged data root is read."""
    from hwloop.network.data.load import load_data

    root = _scratch("data")
    try:
        name = rng.choice(("mnist", "imagefolder", "imagefolder", "cifar10"))
        if name == "mnist":
            _make_mnist(root, rng)
        elif name == "cifar10":
            _make_cifar(root, rng)
        else:
            _make_images(root, rng)
        size = None if name == "mnist" else rng.choice((None, 8))  # 60,000 images to resize are no hang
        return _several([lambda: load_data(name, root, image_size=size, limit=20).test])
    finally:
        shutil.rmtree(root)


def _make_mnist(root: Path, rng: Random) -> None:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for half, count in (("train", 60_000), ("t10k", 10_000)):
        for what, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            header = b"\0\0\x08" + bytes([len(shape)]) + np.array(shape, ">u4").tobytes()
            if rng.random() < 0.4:
                header = mutate_bytes(header, rng)
            body = bytes(int(np.prod(shape))) if rng.random() < 0.8 else rng.choice((b"", b"x", bytes(100), bytes(10**8)))
            content = header + body
            if rng.random() < 0.6:
                content = gzip.compress(content, 1)
                if rng.random() < 0.4:
                    content = mutate_bytes(content, rng)
                (raw / f"{half}-{what}-ubyte.gz").write_bytes(content)
            else:
                (raw / f"{half}-{what}-ubyte").write_bytes(content)


def _make_cifar(root: Path, rng: Random) -> None:
    import pickle

    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("data_batch_1", "data_batch_2", "test_batch", "batches.meta"):
        content = pickle.dumps({b"data": bytes(3072 * 4), b"labels": [0, 1, 2, 3]})
        if rng.random() < 0.8:
            (folder / name).write_bytes(mutate_bytes(content, rng))


def _make_images(root: Path, rng: Random) -> None:
    from PIL import Image

    for half in ("train", "test"):
        for label in ("a", "b"):
            folder = root / half / label
            folder.mkdir(parents=True)
            for i in range(3):
                buffer = io.BytesIO()
                mode, size = (
                    rng.choice(("RGB", "L", "RGBA", "P", "1", "LA", "CMYK")),
                    rng.choice(((9, 8), (1, 1), (1, 300), (3000, 2), (20, 20))),
                )
                kind = "PNG" if mode != "CMYK" else "JPEG"
                Image.new(mode, size).save(buffer, kind)
                content = buffer.getvalue()
                if rng.random() < 0.3:
                    content = mutate_bytes(content, rng)
                if kind == "PNG" and rng.random() < 0.05:  # says that it is very large
                    content = content[:16] + (60000).to_bytes(4, "big") * 2 + content[24:]
                (folder / f"{i}{rng.choice(('.png', '.png', '.jpg', '.txt'))}").write_bytes(content)


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("map", "{problem}", "--arch", "eyeriss_168", "--dataflow", "row_stationary", "--effort", "quick", "--output", "{out}"),
    ("map", "{problem}", "--arch", "flexible", "--weight-bits", "4", "--density", "0.5", "--memo", "{memo}", "--effort",
    "quick", "--seed", "1"),
    ("map", "--model", "lenet5", "--image-size", "28", "--channels", "1", "--classes", "10", "--batch", "1", "--arch", "nothing"),
    ("compare", "{workload}", "--arch", "flexible", "--effort", "quick", "--workers", "1", "--dataflow", "xy", "--weight-bits",
    "3"),
    ("ert", "eyeriss_168", "--energy", "shipped", "--bits", "W=8,I=8"),
    ("ert", "{arch}", "--energy", "table", "--json"),
    ("memo", "{memo}", "show", "--network", "x", "--limit", "3"),
    ("memo", "{memo}", "query", "SELECT 1"),
    ("memo", "{memo}", "check", "--sample", "1", "--json"),
    ("export", "lenet5", "--output", "{out}"),
    ("report", "{folder}"),
    ("verify", "--quick"),
    ("sweep", "{folder}", "--model", "lenet5"),
    ("compress", "--model", "nothing", "--data", "digits", "--arch", "eyeriss_168", "--generations", "1", "--population", "2",
    "--out", "{out}"),
    ("compress", "--model", "lenet5", "--data", "nothing", "--arch", "eyeriss_168", "--seed", "3", "--workers", "1", "--budget",
    "energy<=1uJ"),
    ("compress", "--model", "nothing", "--compression", "second-order", "--one-shot", "0.5,0.9", "--bank", "{folder}",
    "--bank-limit", "0.5", "--fill-bank", "--calibration-images", "9", "--bias-correction", "--batchnorm", "plain",
    "--batchnorm-images", "9",
    "--validation", "test:5", "--published-accuracy", "91.7%", "--distillation", "0.5", "--finetune", "1", "--finetune-members",
    "2", "--finetune-rate", "0.01", "--out", "{out}"),
    ("train", "--model", "nothing", "--epochs", "1", "--seed", "1", "--out", "{out}", "--data", "digits"),
)  # fmt: skip
WORDS = (
    "", " ", "-1", "0", "1", "99999999999999", "1e999", "nan", "inf", "-inf", "x", "é", "\udcff", "a" * 300, "a/" * 3000, "/",
    "/dev/null", "/dev/full",
    "/proc/self/mem", ".", "..", "a\nb", "\x1b[31m", "{x", "[", "W=0,I=8", "W=8", "W=8,W=8", "W=99999999999999999999",
    "energy<=20", "energy<=-1uJ",
    "accuracy>=2", "0:inf:0.1", "0.1:0.5:0", "0.9,0.9", "--json", "--help", "--seed=-1", "--workers=0", "{out}", "{folder}",
    "{problem}", "{arch}", "{fifo}",
    "nul\x00", "SELECT", "DROP TABLE results", "eyeriss_168", "xy", "-", "--", "@x", "~", "~nobody", "os:system",
    "os.path:join", "torch.nn:Linear",
)  # fmt: skip


def command_case(rng: Random) -> str:
    """A damaged command line ends with an exit code of 0, 1 or 2 and says why in a line."""
    folder = _scratch("cli")
    before = os.getcwd()
    try:
        names = {"out": folder / "out", "memo": folder / "memo.sqlite", "folder": folder, "problem": folder / "p.yaml"}
        names |= {"workload": folder / "w.yaml", "arch": ROOT / "arch_specs" / "tpu_like.yaml", "fifo": folder / "fifo"}
        os.mkfifo(names["fifo"])
        names["problem"].write_text(written(problem(1.0)))
        names["workload"].write_text(written(WORKLOAD))
        argv = list(rng.choice(COMMANDS))
        for _ in range(rng.choice((0, 1, 1, 1, 2))):
            at, what = rng.randrange(1, len(argv) + 1), rng.random()
            odd = (
                rng.choice(WORDS)
                if rng.random() < 0.8
                else str(rng.choice((*NUMBERS, *(t for t in TEXTS if not isinstance(t, Raw)))))
            )
            if what < 0.6 and at < len(argv):
                argv[at] = odd
            elif what < 0.75 and at < len(argv):
                del argv[at]
            elif what < 0.9:
                argv.insert(at, odd)
            elif at < len(argv):
                argv.insert(at, argv[at])
        argv = [word.format(**names) if word[1:-1] in names and word[0] == "{" else word for word in argv]
        os.chdir(folder)
        return _several([lambda: _quiet(main, argv)])
    finally:
        os.chdir(before)
        for place in folder.rglob("*"):
            with contextlib.suppress(OSError):
                place.chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)


STORES: dict[str, Callable[[Random], str]] = {
    "bank": bank_case, "memo": memo_case, "run_folder": run_folder_case, "checkpoint": checkpoint_case, "data": data_case,
    "command": command_case,
}  # fmt: skip
