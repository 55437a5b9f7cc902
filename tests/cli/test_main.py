from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import hwloop.cli.compress
import hwloop.cli.map
from hwloop.cli.common import read_fractions, read_range
from hwloop.cli.main import COMMANDS, main
from hwloop.errors import SpecError
from hwloop.search.study import Study
from hwloop.spec.problem import conv2d_shape, make_problem
from hwloop.spec.workload import Layer, Workload

PRESENT = [name for name in COMMANDS if (Path(hwloop.cli.map.__file__).parent / f"{name}.py").exists()]
TINY = (
    "--compression", "magnitude",
    "--population", "6", "--generations", "2", "--pruning", "0.8", "--epochs", "1", "--validation-images", "40",
    "--effort", "quick",
    "--arch", "flexible", "--dataflow", "row_stationary", "--workers", "1",
)  # fmt: skip

NET = ("--model", "lenet5", "--out", "x")


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    problem = make_problem(conv2d_shape(), {"C": 4, "M": 8, "R": 3, "S": 3, "P": 8, "Q": 8})
    path = tmp_path / "layer.yaml"
    path.write_text(problem.to_yaml())
    return path


def test_help_lists_the_commands_and_loads_none() -> None:
    code = (
        "import sys\nfrom hwloop.cli.main import main\nassert main(['--help']) == 0\n"
        "print([m for m in sys.modules if m in ('torch', 'pymoo', 'matplotlib', 'rich') or m.startswith('hwloop.cli.')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "['hwloop.cli.arguments', 'hwloop.cli.main']"
    assert all(name in out for name in PRESENT)


@pytest.mark.parametrize("command", PRESENT)
def test_every_command_has_help_with_an_example(command: str, capsys) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"examples?:\s+hwloop {command}", out)


@pytest.mark.parametrize("command", ["demo", "compress", "train"])
def test_help_does_not_load_torch(command: str) -> None:
    code = f"import sys\nfrom hwloop.cli.main import main\nmain([{command!r}, '--help'])\nprint('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: COMMAND"),
        (["nonsense"], "invalid choice"),
        (["map"], "FILE, --model: expected one of the two"),
        (["map", "x.yaml", "--effort", "great"], "invalid choice"),
        (["compress", "--model", "lenet5", "--out", "x", "--objectives", "speed"], "objectives: expected among"),
        (
            ["compress", "--model", "lenet5", "--out", "x", "--weight-bits", "few"],
            "weight_bits: expected a whole number or a range",
        ),
        (["compress", *NET, "--weight-bits", "8-4"], "weight_bits: expected the least bits first, then the most, found (8, 4)"),
        (["compress", *NET, "--seed", "-1"], "--seed: expected a whole number from 0 to 4294967295, found -1"),
        (["compress", *NET, "--budget", "energy<=20"], "a unit of energy (pj, nj, uj, mj), found 'energy<=20'"),
        (["compress", *NET, "--pruning", "0:inf:0.1"], "pruning: expected fractions from 0 to below 1"),
        (["compress", *NET, "--pruning", "0.1:0.9:0"], "pruning: expected fractions from 0 to below 1"),
        (
            ["compress", *NET, "--method", "annealing"],
            "method: expected one of nsga2, nsga3, knapsack, random, found 'annealing'",
        ),
        (["compress", *NET, "--method-option", "population"], "method option: expected NAME=VALUE, found 'population'"),
        (["compress", *NET, "--population", "2"], "method option population: expected 4 or more, found 2"),
        (["compress", *NET, "--space", "everything"], "space: expected one of global-pruning, layerwise, found 'everything'"),
        (["compress", *NET, "--space-option", "a=1"], "space option a: expected an option of GlobalPruning"),
        (["compress", *NET, "--evaluations", "0"], "--evaluations: expected a whole number from 1 to 1000000000, found 0"),
        (["demo", "--seed", "-1", "--out", "x"], "--seed: expected a whole number from 0 to 4294967295, found -1"),
        (["compress", *NET, "--workers", "0"], "--workers: expected a whole number from 1"),
        (["compress", *NET, "--image-size", "-8"], "--image-size: expected a whole number from 1"),
        (["train", *NET[:2], "--out", "x.pt", "--seed", "-1"], "--seed: expected a whole number from 0"),
        (["train", *NET[:2], "--out", "x.pt", "--epochs", "-3"], "--epochs: expected a whole number from 0"),
        (["train", *NET[:2], "--out", "x.pt", "--rate", "0"], "learning_rate: expected a number above 0"),
        (["memo", "x.sqlite", "query"], "query: expected a SELECT"),
    ],
)
def test_bad_usage_is_2_and_says_what(argv: list[str], message: str, capsys, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    assert message in capsys.readouterr().err


def test_map_prints_the_nest_and_the_ceiling_and_writes_the_mapping(layer: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "mapping.yaml"
    assert main(["map", str(layer), "--dataflow", "row_stationary", "--effort", "quick", "--output", str(out)]) == 0
    text = capsys.readouterr().out
    assert "for " in text
    assert "bound by" in text
    assert hwloop.load_mapping(out).loops


def test_map_json_is_one_document_and_bits_lower_the_energy(layer: Path, capsys) -> None:
    energies = []
    for bits in ("16", "4"):
        argv = ["map", str(layer), "--effort", "quick", "--json", "--weight-bits", bits, "--activation-bits", bits]
        assert main([*argv, "--objective", "energy"]) == 0
        energies.append(json.loads(capsys.readouterr().out)["cost"]["energy_pj"])
    assert energies[1] < energies[0]


def test_map_a_network_twice_reads_the_memo_table(tmp_path: Path, capsys) -> None:
    argv = ["map", "--model", "lenet5", "--image-size", "28", "--channels", "1", "--effort", "quick", "--workers", "1", "--quiet"]
    memo = tmp_path / "memo.sqlite"
    for expected in ("memo table: 0 read, 5 new", "memo table: 5 read, 0 new"):
        assert main([*argv, "--memo", str(memo)]) == 0
        assert expected in capsys.readouterr().out
    assert main(["memo", str(memo)]) == 0
    assert re.search(r"lenet5 +eyeriss_168 +- +5 +0 ", capsys.readouterr().out)
    assert main(["memo", str(memo), "show", "--layer", "conv1", "--json"]) == 0
    assert [row["layer"] for row in json.loads(capsys.readouterr().out)] == ["conv1"]
    assert main(["memo", str(memo), "query", "SELECT count(*) AS n FROM results"]) == 0
    assert capsys.readouterr().out == "n\n5\n"
    assert main(["memo", str(memo), "check"]) == 0
    assert "5 rows simulated again: all equal" in capsys.readouterr().out
    assert main(["memo", str(memo), "query", "DELETE FROM results"]) == 1
    assert "give a SELECT" in capsys.readouterr().err


def test_train_then_compress_then_a_checkpoint_for_another_model(tmp_path: Path, capsys) -> None:
    weights = tmp_path / "lenet5.pt"
    assert main(["train", "--model", "lenet5", "--epochs", "1", "--out", str(weights), "--quiet"]) == 0
    assert "test accuracy" in capsys.readouterr().out
    argv = ["compress", "--model", "lenet5", "--weights", str(weights), *TINY, "--out", str(tmp_path / "run")]
    assert main(argv) == 0
    out = capsys.readouterr()
    assert "less energy" in out.out
    assert "library of pruned models: 2/2 done" in out.err
    assert main(argv) == 1
    assert "--resume" in capsys.readouterr().err
    assert main([*argv, "--resume", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["fronts"][0]["members"]
    other = [
        "compress",
        "--model",
        "resnet20",
        "--data",
        "digits",
        "--weights",
        str(weights),
        *TINY,
        "--out",
        str(tmp_path / "other"),
    ]
    assert main(other) == 1
    assert "does not fit" in capsys.readouterr().err


def test_what_fails_is_1_and_one_message(tmp_path: Path, layer: Path, capsys) -> None:
    missing = [
        "compress",
        "--model",
        "lenet5",
        "--data",
        "mnist",
        "--data-root",
        str(tmp_path / "none"),
        "--out",
        str(tmp_path / "a"),
    ]
    assert main([*missing, "--quiet"]) == 1
    assert str(tmp_path / "none") in capsys.readouterr().err
    raw = yaml.safe_load(layer.read_text())
    raw["problem"]["instance"]["densties"] = {"Weights": 0.5}
    layer.write_text(yaml.safe_dump(raw))
    assert main(["map", str(layer)]) == 1
    assert "densties" in capsys.readouterr().err
    assert main(["map", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml" in capsys.readouterr().err
    assert main(["memo", str(tmp_path / "none.sqlite")]) == 1
    assert "there is no memo table here" in capsys.readouterr().err


def test_a_method_and_a_space_of_ones_own_run_log_and_resume(tmp_path: Path, monkeypatch, capsys) -> None:
    """Each is one file, and no other knows of it."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "search")
    own = (
        "--method",
        "toy_method:Climb",
        "--method-option",
        "steps=6",
        "--space",
        "toy_space:OneBitWidth",
        "--space-option",
        "amount=0.8",
    )
    argv = ["compress", "--model", "lenet5", *TINY[:2], *TINY[6:], *own, "--quiet", "--json"]
    shared = ["--library", str(tmp_path / "library"), "--memo", str(tmp_path / "memo.sqlite")]
    assert main([*argv, *shared, "--out", str(tmp_path / "whole")]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert (whole["method"], whole["space"]) == ("climb", "one-width")
    plans = [member["plan"] for member in whole["fronts"][0]["members"]]
    assert all(plan["base"] == "p=0.8" for plan in plans)
    assert all(len({share["weight_bits"] for share in plan["layers"].values()}) == 1 for plan in plans)
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert config["settings"]["method_options"] == {"steps": 6, "stride": 1}
    assert config["settings"]["space_options"] == {"amount": 0.8}
    identity = json.loads((tmp_path / "whole" / "identity.json").read_text())
    assert identity["space"] == {"name": "one-width", "options": {"amount": 0.8}}

    def press_ctrl_c(self, state: bytes, _keep=Study.keep) -> None:
        _keep(self, state)
        if len(self.steps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Study, "keep", press_ctrl_c)
    assert main([*argv, *shared, "--out", str(tmp_path / "cut")]) == 1
    monkeypatch.undo()
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "search")
    log = tmp_path / "cut" / "evaluations-flexible-row_stationary.jsonl"
    log.write_bytes(log.read_bytes() + b'{"plan":')
    capsys.readouterr()
    assert main([*argv, *shared, "--out", str(tmp_path / "cut"), "--resume"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["fronts"] == whole["fronts"]
    assert log.read_bytes() == (tmp_path / "whole" / log.name).read_bytes()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyboardInterrupt(), "interrupted; trained and pruned models.*--resume"),
        (MemoryError(), "hwloop: out of memory; what was finished before is kept"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "hwloop: out of memory; what was finished"),
        (OSError(errno.ENOSPC, "No space left on device", "front.csv"), "front.csv: No space left on device; what was finished"),
    ],
)
def test_ctrl_c_and_a_full_disk_say_what_is_kept(error: BaseException, message: str, monkeypatch, capsys) -> None:
    def fails(_args) -> int:
        raise error

    monkeypatch.setattr(hwloop.cli.compress, "run", fails)
    assert main(["compress", "--model", "lenet5", "--out", "x"]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_an_unknown_failure_is_not_hidden(monkeypatch) -> None:
    def fails(_args) -> int:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(hwloop.cli.compress, "run", fails)
    with pytest.raises(ZeroDivisionError, match="a fault of ours"):
        main(["compress", "--model", "lenet5", "--out", "x"])


def test_ranges_and_fractions() -> None:
    assert read_range("2-16", "bits") == (2, 16)
    assert read_range("8", "bits") == (8, 8)
    assert read_fractions("0.3, 50%", "pruning") == (0.3, 0.5)
    assert read_fractions("5%:20%:5%", "pruning") == (0.05, 0.1, 0.15, 0.2)
    for text in ("1.5", "a", "0.1:0.2", ""):
        with pytest.raises(SpecError, match="pruning: expected fractions"):
            read_fractions(text, "pruning")


def test_a_stopped_job_says_what_is_kept(tmp_path: Path) -> None:
    """SIGTERM, as `timeout` and schedulers send it, while the mapper's workers are busy."""
    code = (
        "import os, signal, sys, threading, time\nfrom hwloop.cli.main import main\n"
        "def stop():\n"
        "    while not os.path.exists(sys.argv[-1]): time.sleep(0.02)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "threading.Thread(target=stop, daemon=True).start()\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    layers = [make_problem(conv2d_shape(), {"C": 64, "M": 60 + i, "R": 3, "S": 3, "P": 28, "Q": 28}) for i in range(40)]
    network = Workload(
        "large",
        tuple(Layer(f"conv{i}", problem, "conv", "", f"conv{i}.weight") for i, problem in enumerate(layers)),
        tuple((f"conv{i}.weight", (60 + i, 64, 3, 3)) for i in range(40)),
    )
    (tmp_path / "network.yaml").write_text(network.to_yaml())
    argv = [
        "map",
        str(tmp_path / "network.yaml"),
        "--effort",
        "thorough",
        "--workers",
        "2",
        "--memo",
        str(tmp_path / "memo.sqlite"),
    ]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "interrupted; layers mapped so far are kept" in done.stderr
