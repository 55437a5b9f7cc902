"""The bank: what is kept, what is never served, and candidates put together from it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from hwloop.errors import SpecError
from hwloop.network.accuracy.candidates import CompressedNetwork
from hwloop.network.bank.bank import Bank, Base, EntryEvent
from hwloop.network.bank.layer import Compressed, Settings
from hwloop.network.bank.store import Store
from hwloop.network.data.load import load_data
from hwloop.network.data.splits import DataSplits
from hwloop.network.locks import locked
from hwloop.network.tracing.registry import register
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import train
from hwloop.spec.plan import make_plan
from hwloop.spec.pruning import BlockPattern

SPARSITIES, BITS = (1.0, 0.5, BlockPattern(2, 4)), (0, 3)
WANTED = [(n, s, b) for n in ("0", "4") for s in SPARSITIES for b in BITS if s != 1.0 or b]
ENTRIES = len(WANTED)


@pytest.fixture(scope="module")
def splits() -> DataSplits:
    return load_data("digits", image_size=8, limit=300)


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 10)).eval()


def opened(folder: Path, splits: DataSplits, seed: int = 0, settings: Settings | None = None) -> tuple[Bank, Base]:
    bank, model = Bank(folder, splits.train.subset(64), settings), net(seed)
    return bank, bank.base(model, register(model, splits.example_input))


def weights(base: Base) -> dict[tuple[str, str, int], Compressed]:
    return {(n, str(s), b): base.entry(n, s, b) for n, s, b in WANTED}


def assert_same(one: dict[tuple[str, str, int], Compressed], other: dict[tuple[str, str, int], Compressed]) -> None:
    assert one.keys() == other.keys()
    for key, entry in one.items():
        assert torch.equal(entry.weight, other[key].weight)
        assert entry.shift is not None
        assert torch.equal(entry.shift, other[key].shift)
        assert (entry.method, entry.error, entry.plain_error) == (other[key].method, other[key].error, other[key].plain_error)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".pt", ".json")}


def test_what_is_made_once_is_looked_up_from_then_on(splits: DataSplits, tmp_path: Path):
    first, base = opened(tmp_path, splits)
    events: list[EntryEvent] = []
    base.fill(WANTED, events.append)
    assert [event.done for event in events] == list(range(1, ENTRIES + 1))
    assert {event.total for event in events} == {ENTRIES}
    made = weights(base)
    assert (first.store.made, len(files(tmp_path))) == (ENTRIES, 2 * ENTRIES)
    second, again = opened(tmp_path, splits)
    assert_same(made, weights(again))
    assert (second.store.made, second.store.found) == (0, ENTRIES)
    assert not second.seen  # nothing was even run


def test_amounts_that_remove_as_many_weights_are_one_entry(splits: DataSplits, tmp_path: Path):
    bank, base = opened(tmp_path, splits)
    assert torch.equal(base.entry("0", 0.5).weight, base.entry("0", 0.501).weight)  # 27 of 54
    assert int((base.entry("0", 0.5).weight == 0).sum()) == 27
    assert bank.store.made == 1


def test_another_network_other_data_and_other_settings_are_other_entries(splits: DataSplits, tmp_path: Path):
    keys = {opened(tmp_path, splits)[1].key, opened(tmp_path, splits, seed=1)[1].key}
    keys.add(opened(tmp_path, splits, settings=Settings(clipping="max"))[1].key)
    bank = Bank(tmp_path, splits.train.subset(64, seed=1))
    keys.add(bank.base(net(), register(net(), splits.example_input)).key)
    norm = net()
    norm[1].running_mean.add_(0.1)  # it changes the inputs of what comes behind
    keys.add(opened(tmp_path, splits)[0].base(norm, register(norm, splits.example_input)).key)
    assert len(keys) == 5


def test_other_code_makes_other_entries(splits: DataSplits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = opened(tmp_path, splits)[1].key
    monkeypatch.setattr("hwloop.network.bank.bank.code_of", lambda thing: f"{thing.__name__}, changed")
    assert opened(tmp_path, splits)[1].key != before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def turn(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def lie(path: Path) -> None:
    told = json.loads(path.with_suffix(".json").read_text())
    told["error"] = 0.0
    path.with_suffix(".json").write_text(json.dumps(told))


@pytest.mark.parametrize("damage", [cut, turn, Path.unlink, lambda path: path.write_text("")])
@pytest.mark.parametrize("suffix", [".pt", ".json"])
def test_damaged_entries_are_made_anew(damage: Callable[[Path], None], suffix: str, splits: DataSplits, tmp_path: Path):
    made = weights(opened(tmp_path, splits)[1])
    place = next(path for path in sorted(tmp_path.rglob(f"*{suffix}")))
    before = files(tmp_path)
    damage(place)
    bank, base = opened(tmp_path, splits)
    if suffix == ".json" and damage is Path.unlink:  # that is an entry that was never finished
        assert_same(made, weights(base))
    else:
        with pytest.warns(RuntimeWarning, match="entry of the bank is damaged .* made anew"):
            assert_same(made, weights(base))
    assert bank.store.made == 1
    assert files(tmp_path) == before


def test_facts_that_were_changed_are_not_believed(splits: DataSplits, tmp_path: Path):
    made = weights(opened(tmp_path, splits)[1])
    lie(next(tmp_path.rglob("*.pt")))
    with pytest.warns(RuntimeWarning, match="not what was written"):
        assert_same(made, weights(opened(tmp_path, splits)[1]))


def test_the_folder_keeps_to_its_limit_and_the_oldest_go_first(tmp_path: Path):
    def entry(value: float) -> Compressed:
        return Compressed(torch.full((64, 64, 1, 1), value), None, "plain", 0.0, 0.0)

    store = Store(tmp_path, limit_bytes=120_000)  # some 18 kB each
    keys = [f"{at:02x}" + "0" * 62 for at in range(12)]
    for at, key in enumerate(keys):
        store.get(key, lambda at=at: entry(float(at)))
        if at:
            os.utime(next((tmp_path / keys[at - 1][:2]).glob("*.json")), (at, at))
        assert store.read(keys[0]) is not None or at > 3
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.suffix in (".pt", ".json"))
    assert size <= 120_000 * 1.05 + 20_000
    assert store.read(keys[-1]) is not None
    assert store.read(keys[1]) is None
    assert float(store.get(keys[1], lambda: entry(1.0)).weight[0, 0]) == 1.0


FILL = """
import sys, torch
torch.set_num_threads(1)
sys.path.insert(0, {here!r})
from pathlib import Path
from test_bank import *
splits = load_data("digits", image_size=8, limit=300)
opened(Path(sys.argv[1]), splits)[1].fill(WANTED, lambda event: print(event.done, flush=True))
"""


def filling(folder: Path) -> subprocess.Popen[str]:
    code = FILL.format(here=str(Path(__file__).parent))
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)


def test_killed_while_it_fills_it_goes_on_to_the_same_entries(splits: DataSplits, tmp_path: Path):
    whole = tmp_path / "whole"
    opened(whole, splits)[1].fill(WANTED)
    killed = tmp_path / "killed"
    process = filling(killed)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert 2 <= len(files(killed)) < 2 * ENTRIES
    bank, base = opened(killed, splits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # half an entry is none, not a damaged one
        base.fill(WANTED)
    assert 0 < bank.store.made < ENTRIES
    assert files(killed) == files(whole)


def test_several_processes_fill_one_folder(splits: DataSplits, tmp_path: Path):
    processes = [filling(tmp_path) for _ in range(2)]
    deadline = time.monotonic() + 120
    for process in processes:
        process.communicate(timeout=max(1.0, deadline - time.monotonic()))
        assert process.returncode == 0
    bank, base = opened(tmp_path, splits)
    base.fill(WANTED)
    assert (bank.store.made, bank.store.found) == (0, ENTRIES)


def test_what_another_process_is_making_is_left_for_later(tmp_path: Path):
    store, key = Store(tmp_path), "a" * 64
    made = Compressed(torch.ones(2, 2, 1, 1), None, "plain", 0.0, 0.0)
    with locked(tmp_path / ".lock-a") as held:
        assert held
        assert store.ask(key, lambda: made) is None
        assert store.ask("b" * 64, lambda: made) is made, "it is the other's entry alone that waits"
    assert (store.made, store.ask(key, lambda: made)) == (1, made)


def test_unknown_layers_and_amounts_are_named(splits: DataSplits, tmp_path: Path):
    base = opened(tmp_path, splits)[1]
    with pytest.raises(SpecError, match="features: expected a layer of the model"):
        base.entry("features", 0.5)
    with pytest.raises(SpecError, match="sparsity: expected a fraction"):
        base.entry("0", 1.5)
    with pytest.raises(SpecError, match="bits: expected"):
        base.entry("0", 0.5, 40)
    assert not files(tmp_path)


@pytest.fixture(scope="module")
def trained(splits: DataSplits) -> nn.Sequential:
    model = net()
    train(model, splits, TrainConfig(epochs=4, learning_rate=0.05))
    return model.eval()


def test_a_plan_is_put_together_from_the_bank(splits: DataSplits, trained: nn.Sequential, tmp_path: Path):
    bank = Bank(tmp_path, splits.train.subset(64))
    network = CompressedNetwork(trained, None, splits, bank=bank)
    plan = make_plan(
        network.workload, weight_density={"0": 0.5, "4": BlockPattern(2, 4)}, weight_bits={"0": 3, "4": 4}, activation_bits=8
    )
    made = network.materialise(plan)
    base = bank.base(trained, network.registry)
    before = bank.store.made
    entries = {"0": base.entry("0", 0.5, 3), "4": base.entry("4", BlockPattern(2, 4), 4)}
    assert bank.store.made == before
    for name, entry in entries.items():
        assert torch.equal(network.registry.by_name[name].read(made), entry.weight)
    assert network.accuracy(plan) == network.accuracy(plan, made)
    assert network.complete(plan).of("0").weight_density == 0.5
    network.accuracy(make_plan(network.workload))
    assert torch.equal(network.registry.by_name["4"].read(network._own.model), trained[4].weight.detach()[:, :, None, None])


def test_without_a_bank_nothing_is_different(splits: DataSplits, trained: nn.Sequential, tmp_path: Path):
    plain = CompressedNetwork(trained, None, splits)
    same = CompressedNetwork(trained, None, splits, bank=Bank(tmp_path, splits.train.subset(64), Settings(method="plain")))
    plan = make_plan(plain.workload, weight_density=0.3, weight_bits=3, activation_bits=6)
    one, other = plain.materialise(plan), same.materialise(plan)
    for entry in plain.registry.entries:
        assert torch.equal(entry.read(one), entry.read(other))
    assert plain.accuracy(plan) == same.accuracy(plan)


def test_layers_of_a_pruned_or_smaller_network_are_its_own(splits: DataSplits, trained: nn.Sequential, tmp_path: Path):
    bank = Bank(tmp_path, splits.train.subset(64))
    network = CompressedNetwork(trained, None, splits, bank=bank)
    smaller = network.materialise(make_plan(network.workload, weight_bits=4, channels={"0": 4}))
    assert network.registry.by_name["0"].read(trained).shape[0] == 6
    again = register(smaller, splits.example_input)
    assert again.by_name["0"].read(smaller).shape[0] == 4
    assert bank.store.made == 2


def test_means_are_shifted_back_where_that_is_asked_for(splits: DataSplits, trained: nn.Sequential, tmp_path: Path):
    bank = Bank(tmp_path, splits.train.subset(64))
    network = CompressedNetwork(trained, None, splits, bank=bank, bias_correction=True)
    plan = make_plan(network.workload, weight_density={"0": 0.5}, weight_bits=2)
    made = network.materialise(plan)
    base = bank.base(trained, network.registry)
    first, last = base.entry("0", 0.5, 2).shift, base.entry("4", 1.0, 2).shift
    assert first is not None
    assert last is not None
    assert torch.allclose(made[0].bias, trained[0].bias + first)
    assert torch.allclose(made[4].bias, trained[4].bias + last)
    assert float(last.abs().max()) > 0
    assert network.accuracy(plan) == network.accuracy(plan, made)
    for name, tensor in network._own.model.state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[name])


def test_statistics_may_be_measured_on_augmented_images(splits: DataSplits, trained: nn.Sequential):
    plan = make_plan(register(trained, splits.example_input).workload, weight_bits=3)
    means = []
    for augment in (False, True):
        network = CompressedNetwork(trained, None, splits, batchnorm_images=100, batchnorm_augmented=augment)
        means.append(network.materialise(plan)[1].running_mean)
    assert not torch.allclose(means[0], means[1])
