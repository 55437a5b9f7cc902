"""The real Timeloop behind the embedded simulator's interface: `timeloop-model` costs a mapping, `timeloop-mapper` finds one.

The programs are looked for on PATH. (pytimeloop and timeloopfe call the same programs; hwloop writes their input itself.)
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from hwloop.backend.timeloop.inputs import letters, mapper_input, model_input
from hwloop.backend.timeloop.read_back import cost_from_stats, merge_split_levels
from hwloop.backend.timeloop.split import check_fit, share_bandwidth, split_levels
from hwloop.errors import InfeasibleMappingError, SimulatorError
from hwloop.programs import find_program, run_program, tail
from hwloop.simulator import LayerCost
from hwloop.spec.batch import MappingBatch
from hwloop.spec.constraints import Constraints
from hwloop.spec.document import to_yaml
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Loops, load_mapping
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.problem import Problem

MODEL, MAPPER = "timeloop-model", "timeloop-mapper"
_REFUSAL = re.compile(r"ERROR: couldn't map level (\S+?): (.*)")
_NO_MAPPING = re.compile(r"no valid mappings found", re.IGNORECASE)
_METRICS = {"edp": "edp", "energy": "energy", "cycles": "delay"}


@dataclass(frozen=True)
class Timeloop:
    """The real Timeloop.

    Attributes:
        model: path of `timeloop-model`.
        mapper: path of `timeloop-mapper`, None when only the model is there.
        version: what identifies the build: Timeloop prints no version, so the first digits of the program's SHA-256.
        timeout_s: longest time for one run of a program [s].
        keep_files: folder that keeps the files of every run, None to throw them away.
    """

    model: str
    mapper: str | None
    version: str
    timeout_s: float = 600.0
    keep_files: Path | None = None

    name = "timeloop"

    @property
    def mapper_version(self) -> str:
        """What identifies the build of `timeloop-mapper`.

        Raises:
            SimulatorError: it is not there.
        """
        return _digest(self._mapper())

    @classmethod
    def find(cls, timeout_s: float = 600.0, keep_files: Path | None = None) -> Timeloop:
        """The Timeloop on PATH.

        Raises:
            SimulatorError: `timeloop-model` is not there; the message says what to install.
        """
        model = find_program(MODEL)
        if model is None:
            raise SimulatorError(
                f"{MODEL} is not on PATH: build Timeloop by its own instructions (https://timeloop.csail.mit.edu) and put its "
                "bin folder on PATH, or use the embedded simulator"
            )
        return cls(model, find_program(MAPPER), _digest(model), timeout_s, keep_files)

    def simulate(
        self,
        problem: Problem,
        architecture: Architecture,
        mapping: LoopMapping,
        table: EnergyTable,
        bits: Mapping[str, int] | None = None,
    ) -> LayerCost:
        """Costs one mapping with `timeloop-model`; arguments as `hwloop.simulate`.

        With `bits`, a level that keeps data spaces of several widths is split into one level each (see `split`) and put
        together again in the result.

        Raises:
            InfeasibleMappingError: Timeloop refuses the mapping; its words are the reason.
            SimulatorError: it crashed, timed out or printed no statistics.
        """
        batch = MappingBatch.from_mappings([mapping], problem.shape, problem.bounds, architecture)
        whole = batch.to_mapping(0, problem.shape, architecture)
        if not bits:
            return self._ask(problem, architecture, whole, table)
        return in_parts(self._ask, problem, architecture, whole, table, bits)

    def _ask(self, problem: Problem, architecture: Architecture, mapping: LoopMapping, table: EnergyTable) -> LayerCost:
        return cost_from_stats(self.run_model(model_input(problem, architecture, mapping, table)), architecture, problem)

    def run_model(self, document: Mapping[str, Any]) -> str:
        """What `timeloop-model` prints into `stats.txt` for one document that holds everything it reads.

        Raises:
            InfeasibleMappingError: Timeloop refuses the mapping.
            SimulatorError: it crashed, timed out or printed no statistics.
        """
        with self._folder() as folder:
            return self._run(MODEL, self.model, document, folder)

    def map_problem(
        self,
        problem: Problem,
        architecture: Architecture,
        table: EnergyTable,
        constraints: Constraints | None = None,
        objective: str = "edp",
        victory_condition: int = 1000,
        threads: int = 2,
    ) -> tuple[LoopMapping, LayerCost]:
        """Finds a mapping with `timeloop-mapper` (random search).

        Args:
            problem: the layer.
            architecture: the accelerator.
            table: its energy table.
            constraints: on top of the architecture's own.
            objective: `edp`, `energy` or `cycles`, minimised.
            victory_condition: a thread stops after this many valid mappings in a row without a better one.
            threads: search threads.

        Raises:
            InfeasibleMappingError: it found no valid mapping.
            SimulatorError: the program is missing, crashed or timed out.
        """
        program = self._mapper()
        if objective not in _METRICS:
            raise SimulatorError(f"{MAPPER} optimises {sorted(_METRICS)}, not {objective!r}")
        settings = {
            "optimization_metric": [_METRICS[objective]],
            "algorithm": "random_pruned",
            "num_threads": threads,
            "victory_condition": victory_condition,
            "timeout": 20000,
            "search_size": 0,
            "live_status": False,
        }
        document = mapper_input(problem, architecture, table, constraints, settings)
        with self._folder() as folder:
            stats = self._run(MAPPER, program, document, folder)
            found = load_mapping(folder / f"{MAPPER}.map.yaml")
        long_names = {short: name for name, short in letters(problem.shape.dimensions).items()}
        loops = tuple(_rename(entry, long_names) for entry in found.loops)
        return LoopMapping(loops, found.bypass), cost_from_stats(stats, architecture, problem)

    def _mapper(self) -> str:
        if self.mapper is None:
            raise SimulatorError(f"{MAPPER} is not on PATH beside {MODEL}: build all of Timeloop, or let hwloop's mapper map")
        return self.mapper

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        if self.keep_files is not None:
            self.keep_files.mkdir(parents=True, exist_ok=True)
            yield Path(tempfile.mkdtemp(prefix="run-", dir=self.keep_files))
            return
        folder = Path(tempfile.mkdtemp(prefix="hwloop-timeloop-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, name: str, program: str, document: Mapping[str, Any], folder: Path) -> str:
        (folder / "input.yaml").write_text(to_yaml(document))
        command = (program, "input.yaml")
        status, log = run_program(command, folder, self.timeout_s)
        stats = folder / f"{name}.stats.txt"
        if stats.exists():
            return stats.read_text()
        refusal = _REFUSAL.search(log)
        if refusal:
            raise InfeasibleMappingError(f"{refusal[1]}: {refusal[2].strip()} (timeloop)", level=refusal[1])
        if _NO_MAPPING.search(log):
            raise InfeasibleMappingError(f"{MAPPER} found no valid mapping")
        raise SimulatorError(f"{name} printed no statistics", command, status, tail(log))


def in_parts(
    ask: Callable[[Problem, Architecture, LoopMapping, EnergyTable], LayerCost],
    problem: Problem,
    architecture: Architecture,
    mapping: LoopMapping,
    table: EnergyTable,
    bits: Mapping[str, int],
) -> LayerCost:
    """The cost with several widths, of a simulator that knows one a level (see `split`).

    Args:
        ask: the simulator.
        problem: the layer.
        architecture: the accelerator.
        mapping: says for every level what it keeps.
        table: energies.
        bits: of a value by data space.

    Raises:
        InfeasibleMappingError: the simulator refuses it, or the data do not fit together.
    """
    system = split_levels(problem, architecture, mapping, table, bits)
    cost = ask(problem, system.architecture, system.mapping, system.table)
    if system.throttled:
        cost = ask(problem, share_bandwidth(system, architecture, cost), system.mapping, system.table)
    return check_fit(architecture, merge_split_levels(cost, system.origin), bits)


def _rename(entry: Loops, names: Mapping[str, str]) -> Loops:
    factors = tuple((names[d], bound, rest) for d, bound, rest in entry.factors)
    return replace(entry, factors=factors, permutation=tuple(names[d] for d in entry.permutation))


@lru_cache(maxsize=8)
def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]
