from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hwloop.errors import SpecError
from hwloop.network.data.samples import ImageSplit
from hwloop.network.tracing.registry import Registry, register
from hwloop.network.transforms.apply import apply_plan, reshaped
from hwloop.network.transforms.calibrate import Calibration, calibrate
from hwloop.network.transforms.factorise import truncated_svd, tucker2
from hwloop.network.transforms.prune import densities
from hwloop.network.transforms.quantize import quantize_weight
from hwloop.network.zoo.models import make_model
from hwloop.spec.density import Density
from hwloop.spec.plan import LayerPlan, Plan, make_plan
from tests.network.models import MODELS, settled


def made(name: str) -> tuple[nn.Module, Registry, Tensor]:
    torch.manual_seed(0)
    build, shape = MODELS[name]
    model = settled(build())
    return model, register(model, torch.randn(shape)), torch.randn(3, *shape[1:])


def full_rank(registry: Registry) -> dict[str, Any]:
    """The largest rank of every layer that can have one."""
    ranks: dict[str, Any] = {}
    for layer in registry.workload.layers:
        sizes = layer.problem.sizes
        alone = layer.module and f"{layer.module}.weight" == layer.parameter
        if alone and layer.kind in ("conv", "linear") and layer.problem.shape.name == "conv2D":
            pair = (sizes["C"], sizes["M"])
            ranks[layer.name] = min(pair) if sizes["R"] == sizes["S"] == 1 else pair
    return ranks


def problems(registry: Registry) -> list[tuple[Any, ...]]:
    return [
        (layer.name, layer.problem.shape, layer.problem.bounds, layer.problem.coefficients) for layer in registry.workload.layers
    ]


def planned_problems(plan: Plan, registry: Registry) -> list[tuple[Any, ...]]:
    return [(p.name, p.problem.shape, p.problem.bounds, p.problem.coefficients) for p in plan.apply(registry.workload)]


@pytest.mark.parametrize("name", ["resnet20", "lenet5", "sequence", "dense", "decoder", "vit", "encoder"])
def test_full_rank_changes_nothing_and_any_rank_has_the_planned_shapes(name: str) -> None:
    model, registry, x = made(name)
    whole = full_rank(registry)
    plan = make_plan(registry.workload, rank=whole)
    same, again = reshaped(model, registry, plan)
    with torch.no_grad():
        assert torch.allclose(same(x), model(x), atol=1e-4)
    assert problems(again) == planned_problems(plan, registry)
    half = {layer: max(1, r // 2) if isinstance(r, int) else (max(1, r[0] // 2), max(1, r[1] // 3)) for layer, r in whole.items()}
    plan = make_plan(registry.workload, rank=half)
    smaller, again = reshaped(model, registry, plan)
    assert problems(again) == planned_problems(plan, registry)
    with torch.no_grad():
        assert smaller(x).shape == model(x).shape
        assert not torch.allclose(smaller(x), model(x), atol=1e-4)


def test_the_best_matrix_of_a_rank_and_what_tucker_leaves_out() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(7, 5, generator=generator)
    down, up = truncated_svd(matrix, 3)
    values = torch.linalg.svdvals(matrix)
    assert torch.linalg.norm(matrix - up @ down).item() == pytest.approx(float(values[3:].square().sum().sqrt()), rel=1e-5)
    filters = torch.randn(6, 4, 3, 3, generator=generator)
    inputs, core, outputs = tucker2(filters, (2, 3))
    made_of = torch.einsum("mo,oisr,ic->mcsr", outputs, core, inputs)
    left = (filters - made_of).square().sum()
    # De Lathauwer et al., property 10: at most the sum of what each unfolding leaves out
    beyond = [torch.linalg.svdvals(filters.movedim(axis, 0).flatten(1))[rank:].square().sum() for axis, rank in ((1, 2), (0, 3))]
    assert max(beyond) <= left <= sum(beyond)
    low = torch.einsum("mo,oisr,ic->mcsr", torch.randn(6, 2), torch.randn(2, 3, 3, 3), torch.randn(3, 4))
    inputs, core, outputs = tucker2(low, (3, 2))
    assert torch.allclose(torch.einsum("mo,oisr,ic->mcsr", outputs, core, inputs), low, atol=1e-4)


def test_a_removed_layer_passes_its_input_on() -> None:
    model, registry, x = made("resnet20")
    plan = make_plan(registry.workload, removed=["layer1.1.conv2"])
    smaller, again = reshaped(model, registry, plan)
    assert problems(again) == planned_problems(plan, registry)
    expected = copy.deepcopy(model)
    expected.layer1[1].conv2 = nn.Identity()
    with torch.no_grad():
        assert torch.equal(smaller(x), expected(x))


def split(shape: tuple[int, ...] = (3, 32, 32)) -> ImageSplit:
    pixels = torch.randint(0, 256, (8, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSplit(pixels, torch.zeros(8, dtype=torch.int64), (0.5,) * 3, (0.25,) * 3)


def measured(model: nn.Module, registry: Registry) -> Calibration:
    return calibrate(model, registry, split(), "minmax")


@pytest.mark.parametrize("name", ["resnet20", "vit"])
def test_everything_at_once(name: str) -> None:
    """Fewer channels, factors, zeros and few bits in one plan: shapes, densities and levels are those that were planned."""
    model, registry, _ = made(name)
    group = next(group for group in registry.workload.channels if not group.fixed)
    narrow = {*group.outputs, *(layer for layer, _, _ in group.inputs)}
    factorised = [layer for layer in full_rank(registry) if layer not in narrow][-2]
    rank = full_rank(registry)[factorised]
    rank = max(1, rank // 2) if isinstance(rank, int) else (rank[0] // 2, rank[1] // 2)
    plan = make_plan(
        registry.workload, 0.4, weight_bits=5, activation_bits=6, channels={group.name: group.size // 2}, rank={factorised: rank}
    )
    smaller = apply_plan(model, registry, plan, measured)
    again = register(smaller, registry.example[0])
    assert problems(again) == planned_problems(plan, registry)
    for entry in again.entries:
        weight = entry.read(smaller)
        assert int(weight.count_nonzero()) <= weight.numel() - round(0.6 * weight.numel())
        assert torch.allclose(weight, quantize_weight(weight, 5), atol=1e-5)
    seen: dict[str, int] = {}

    def watch(layer: str) -> Any:
        return lambda _, inputs, __: seen.update({layer: inputs[0].unique().numel()})

    hooks = [smaller.get_submodule(path).register_forward_hook(watch(layer)) for layer, path in again.hooked]
    x, _ = split().tensors()
    with torch.no_grad():
        smaller(x)
    for hook in hooks:
        hook.remove()
    assert max(seen.values()) <= 2**6
    assert f"{factorised}.rank1" in seen
    assert set(model.state_dict()) == set(make_model("resnet20").state_dict()) or name == "vit"


def test_patterns_and_plain_densities() -> None:
    model, registry, _ = made("resnet20")
    plan = make_plan(registry.workload, {"layer1.0.conv1": "2:4", "linear": 0.25})
    pruned = apply_plan(model, registry, plan)
    weight = registry.entry("layer1.0.conv1").read(pruned)
    assert bool((weight.view(16, 4, 4, 3, 3) != 0).sum(dim=2).eq(2).all())
    found = densities(pruned, registry)
    assert (found["layer1.0.conv1"], found["linear"], found["conv1"]) == (0.5, 0.25, 1.0)
    again = apply_plan(pruned, registry, plan)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), pruned.state_dict().values(), strict=True))
    assert bool(model.linear.weight.all()), "the model itself is left alone"


def test_functional_weights_are_pruned_and_quantised_like_any_other() -> None:
    model, registry, _ = made("functional")
    plan = make_plan(registry.workload, 0.5, weight_bits=4, channels={"kernel": (0, 1, 4), "hidden": 4})
    smaller = apply_plan(model, registry, plan)
    assert {name: tuple(p.shape) for name, p in smaller.named_parameters()} == {
        "kernel": (3, 3, 3, 3),
        "scale": (3, 1, 1),
        "hidden": (4, 27),
        "shift": (4,),
        "out": (4, 5),
    }
    for name in ("kernel", "hidden", "out"):
        assert int(smaller.get_parameter(name).count_nonzero()) * 2 <= smaller.get_parameter(name).numel() + 1


@pytest.mark.parametrize(
    "name, share, message",
    [
        (
            "functional",
            {"hidden": LayerPlan(rank=2)},
            r"layers\.hidden\.rank: expected a layer that a module of its own computes",
        ),
        (
            "vit",
            {"encoder.layers.encoder_layer_0.self_attention.q": LayerPlan(rank=2)},
            r"self_attention\.q\.rank: .* function, or shared",
        ),
        (
            "resnet20",
            {"conv1": LayerPlan(weight_density=Density("banded", 0.5, 2))},
            r"layers\.conv1\.weight_density: .*simulated",
        ),
        ("resnet20", {"conv1": LayerPlan(activation_bits=4)}, r"layers\.conv1\.activation_bits: .*give `calibrate`"),
    ],
)
def test_what_cannot_be_done_names_the_layer(name: str, share: dict[str, LayerPlan], message: str) -> None:
    model, registry, _ = made(name)
    with pytest.raises(SpecError, match=message):
        apply_plan(model, registry, Plan(tuple(share.items())))


def test_tied_layers_agree_on_their_shapes() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    registry = register(model, torch.zeros(1, 4))
    with pytest.raises(SpecError, match=r"layers\.0: expected one treatment for all who share 0\.weight"):
        apply_plan(model, registry, Plan((("0", LayerPlan(rank=2)),)))
    smaller, _ = reshaped(model, registry, make_plan(registry.workload, rank={"0": 2}))
    assert smaller[0] is smaller[2]
