"""The real programs on specs as they are written: upstream's front end (timeloopfe) and the Timeloop binaries.

The binaries are looked for on PATH. The front end runs in an interpreter of its own, which has timeloopfe installed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What runs in the front end's interpreter: a line of JSON in, a line of JSON out.
_CHILD = """
import json, logging, os, sys
logging.disable(logging.CRITICAL)
answers, sys.stdout = sys.stdout, sys.stderr
import timeloopfe.v4 as tl
from timeloopfe.common.backend_calls import _specification_to_yaml_string as expand
for line in sys.stdin:
    asked, out = json.loads(line), {}
    try:
        os.chdir(asked["folder"])
        for program, model in (("timeloop-model", True), ("timeloop-mapper", False)):
            spec = tl.Specification.from_yaml_files(*asked["files"], jinja_parse_data=asked["variables"])
            out[program] = expand(spec, model)
    except BaseException as error:
        out = {"error": f"{type(error).__name__}: {error}"[-600:].replace(chr(10), " ")}
    print(json.dumps(out), file=answers, flush=True)
"""
_ERROR = re.compile(r"ERROR|what\(\)|rror:|Assert|not found|terminate")


class FrontEnd:
    """Upstream's front end, started once.

    Args:
        python: an interpreter that has timeloopfe.
    """

    def __init__(self, python: str) -> None:
        self._child = subprocess.Popen(
            [python, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def expand(self, files: Sequence[Path], variables: Mapping[str, Any] | None = None) -> dict[str, str]:
        """What each program is to read, by the program's name; `error` alone when the front end refuses."""
        asked = {
            "files": [str(f.resolve()) for f in files],
            "variables": dict(variables or {}),
            "folder": str(files[0].resolve().parent),
        }
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        print(json.dumps(asked), file=self._child.stdin, flush=True)
        line = self._child.stdout.readline()
        if not line:
            raise SystemExit("the front end ended; does its interpreter have timeloopfe?")
        found: dict[str, str] = json.loads(line)
        return found

    def close(self) -> None:
        """Ends it."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(timeout=20)


@dataclass(frozen=True)
class Answer:
    """What a program said: `stats` and, of the mapper, `mapping`; or, without them, the reason of its refusal."""

    stats: str | None
    mapping: str | None = None
    reason: str = ""


def run_program(program: str, texts: Sequence[str], timeout_s: float = 60.0) -> Answer:
    """Runs a Timeloop program on YAML texts."""
    with tempfile.TemporaryDirectory(prefix="upstream") as folder:
        names = []
        for i, text in enumerate(texts):
            names.append(f"input{i}.yaml")
            (Path(folder) / names[-1]).write_text(text)
        process = subprocess.Popen(
            [program, *names], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True,
        )  # fmt: skip
        try:
            log, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return Answer(None, None, f"no answer in {timeout_s:g} s")
        stats, mapping = Path(folder, f"{program}.stats.txt"), Path(folder, f"{program}.map.yaml")
        if stats.exists() and stats.stat().st_size:
            return Answer(stats.read_text(), mapping.read_text() if mapping.exists() else None)
        lines = [line for line in log.splitlines() if _ERROR.search(line)] or log.splitlines()[-2:]
        return Answer(None, None, " / ".join(lines[-2:])[:300])
