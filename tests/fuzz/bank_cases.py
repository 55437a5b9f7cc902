"""Cases of the bank of layers and of what fine-tuning leaves: damaged entries are made anew, and never served."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from hwloop.errors import HwloopError

from .mutators import mutate, mutate_bytes

_WANTED = (("0", 0.5, 0), ("0", 1.0, 3), ("2", 0.25, 2), ("2", 1.0, 12))


def _bank(folder: Path) -> Any:
    """A bank in `folder`, and a base of two small layers."""
    import torch
    from torch import nn

    from hwloop.network.bank.bank import Bank
    from hwloop.network.data.samples import TensorSplit
    from hwloop.network.tracing.registry import register

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    bank = Bank(folder, TensorSplit(torch.randn(20, 6), None))
    return bank.base(model, register(model, torch.zeros(1, 6)))


@cache
def _template() -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of a whole bank by path, and the truth."""
    folder = Path(tempfile.mkdtemp(prefix="hwloop-fuzz-bank-"))
    try:
        truth = _answers(_bank(folder))
        files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        return files, truth
    finally:
        shutil.rmtree(folder)


def _answers(base: Any) -> dict[str, Any]:
    entries = {f"{name} {sparsity} {bits}": base.entry(name, sparsity, bits) for name, sparsity, bits in _WANTED}
    return {key: (entry.weight.tolist(), entry.shift.tolist(), entry.method, entry.error) for key, entry in entries.items()}


def _damage(file: Path, rng: Random) -> None:
    if not file.is_file():
        return
    content = file.read_bytes()
    what = rng.random()
    if what < 0.35:
        file.write_bytes(mutate_bytes(content, rng))
    elif what < 0.5:
        file.write_bytes(
            rng.choice((b"", b"{}", b"null", b"[" * 3000, b"\xff\xfe", content[: len(content) // 2], b"x" * 100_000))
        )
    elif what < 0.7 and file.suffix == ".json":
        with contextlib.suppress(ValueError, TypeError):
            file.write_text(json.dumps(mutate(json.loads(content), rng), default=str), errors="surrogateescape")
    elif what < 0.8:
        file.unlink(missing_ok=True)
    elif what < 0.9:
        file.unlink(missing_ok=True)
        rng.choice(
            (file.mkdir, lambda: file.symlink_to("/dev/zero"), lambda: file.symlink_to("nowhere"), lambda: os.mkfifo(file))
        )()
    else:
        with contextlib.suppress(OSError):
            others = [p for p in file.parent.parent.rglob(f"*{file.suffix}") if p.is_file()]
            shutil.copyfile(rng.choice(others), file)


def bank_case(rng: Random) -> str:
    """Some files of a bank are damaged: what it serves is the truth, or it is refused in a line."""
    files, truth = _template()
    folder = Path(tempfile.mkdtemp(prefix="hwloop-fuzz-bank-"))
    try:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        for _ in range(rng.choice((1, 1, 2, 5))):
            with contextlib.suppress(OSError):
                _damage(folder / rng.choice(sorted(files)), rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome, found = answers_or_refusal(lambda: _answers(_bank(folder)))
        assert found is None or found == truth, "a wrong layer is served"
        return outcome
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def answers_or_refusal(ask: Callable[[], Any]) -> tuple[str, Any]:
    """What is answered, or how it is refused."""
    outcome = "read"
    try:
        return outcome, ask()
    except HwloopError as error:
        outcome = f"refused: {error}"
    assert "\x1b" not in outcome, "a control character in a message"
    return outcome, None
