from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
import torchvision
from torch import nn

from hwloop.errors import DataError
from hwloop.network.tracing.trace import trace
from hwloop.network.zoo.models import load_weights, make_model, model_names, native_input

# weights of convolutions and linear layers, and multiply-accumulates of one image, counted by hand from the papers' tables
LENET_28 = (25 * 6 + 25 * 6 * 16 + 400 * 120 + 120 * 84 + 84 * 10, 25 * 6 * 784 + 25 * 6 * 16 * 100 + 48_000 + 10_080 + 840)


def test_lenet5_by_hand() -> None:
    workload = trace(make_model("lenet5", in_channels=1, image_size=28), torch.zeros(1, 1, 28, 28))
    assert (workload.weight_values, workload.computes) == LENET_28
    assert [layer.name for layer in workload.layers] == ["conv1", "conv2", "fc1", "fc2", "fc3"]


@pytest.mark.parametrize("pixels", [8, 9, 12, 15, 16, 20, 28, 31, 32, 33, 40, 64])
def test_lenet5_takes_any_image_size(pixels: int) -> None:
    model = make_model("lenet5", in_channels=2, image_size=pixels, classes=7)
    assert model(torch.zeros(3, 2, pixels, pixels)).shape == (3, 7)


@pytest.mark.parametrize("pixels", [28, 32])
def test_lenet5_reaches_the_paper_s_16x5x5(pixels: int) -> None:
    model: Any = make_model("lenet5", in_channels=1, image_size=pixels)
    assert model.fc1.in_features == 400


@pytest.mark.parametrize(
    ("name", "layers", "computes"),
    [
        ("vgg16_cifar10", 14, 313_201_664),
        ("vgg16_plain_cifar10", 14, 313_201_664),
        ("mobilenet_cifar10", 28, 46_354_432),
        ("resnet20", 20, 40_551_040),
        ("resnet32", 32, 68_862_592),
        ("resnet44", 44, 97_174_144),
        ("resnet56", 56, 125_485_696),
    ],
)
def test_small_networks(name: str, layers: int, computes: int) -> None:
    with torch.device("meta"):
        model = make_model(name)
    workload = trace(model, torch.zeros(1, 3, 32, 32))
    assert (len(workload.layers), workload.computes) == (layers, computes)


def test_resnet_costs_what_its_paper_s_table_says() -> None:
    """6n + 1 convolutions of 3x3 in three stages of equal cost, He et al. section 4.2; n = 3 for 20 layers."""
    stage = 9 * 16 * 16 * 32 * 32
    first, halved, linear = 9 * 3 * 16 * 32 * 32, stage // 2, 64 * 10
    assert first + 18 * stage - 2 * halved + linear == 40_551_040


@pytest.mark.parametrize("name", ["vgg16_cifar10", "mobilenet_cifar10", "resnet20"])
def test_small_networks_take_grey_images_and_other_classes(name: str) -> None:
    model = make_model(name, in_channels=1, image_size=32, classes=5).eval()
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 5)


def test_batch_norm_makes_biases_needless() -> None:
    kinds = {name: {type(m) for m in make_model(name).modules()} for name in ("vgg16_cifar10", "vgg16_plain_cifar10")}
    assert nn.BatchNorm2d in kinds["vgg16_cifar10"]
    assert nn.BatchNorm2d not in kinds["vgg16_plain_cifar10"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("lenet5", (1, 28)), ("vgg16_cifar10", (3, 32)), ("resnet20", (3, 32)), ("vgg16", (3, 224)), ("inception_v3", (3, 299))],
)
def test_each_network_knows_its_images(name: str, expected: tuple[int, int]) -> None:
    assert native_input(name) == expected


def test_only_the_zoo_s_networks_know_their_images() -> None:
    with pytest.raises(DataError, match=r"'mine:build': only networks of the zoo have an input size of their own"):
        native_input("mine:build")


def test_one_name_is_one_network() -> None:
    with torch.device("meta"):
        workload = trace(make_model("vgg16", image_size=224, classes=1000), torch.zeros(1, 3, 224, 224))
    assert workload.computes == 15_470_264_320


def test_torchvision_by_name() -> None:
    with torch.device("meta"):
        large, same = make_model("vgg16", image_size=224, classes=12), make_model("torchvision:vgg16", image_size=224)
        plain, vit = make_model("resnet18", classes=12), make_model("vit_b_16", image_size=32)
        inception = make_model("inception_v3", classes=12)
    assert type(large) is type(same) is torchvision.models.VGG
    assert plain.fc.out_features == 12  # type: ignore[union-attr]
    assert vit(torch.zeros(1, 3, 32, 32, device="meta")).shape == (1, 10)
    assert inception.train()(torch.zeros(2, 3, 80, 80, device="meta")).shape == (2, 12), "scores alone, no auxiliary head"
    assert {"lenet5", "resnet20", "resnet18", "vgg16", "vgg16_cifar10", "vit_b_16"} <= set(model_names())
    assert len(set(model_names())) == len(model_names())


def test_imported_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hw_my_models.py").write_text(
        "from torch import nn\n"
        "def build(in_channels, num_classes):\n    return nn.Linear(in_channels, num_classes)\n"
        "def text():\n    return 'model'\n"
        "def broken():\n    raise ZeroDivisionError('no width')\n"
    )
    monkeypatch.chdir(tmp_path)
    model: Any = make_model("hw_my_models:build", in_channels=4, classes=6)
    assert (model.in_features, model.out_features) == (4, 6)
    for name, message in (
        ("hw_my_models:biuld", r"hw_my_models has no class or function 'biuld'; did you mean 'build'\?"),
        ("hw_my_models:text", r"text\(\) returned str, not a torch\.nn\.Module"),
        ("hw_my_models:broken", r"broken\(\) failed: ZeroDivisionError: no width"),
        ("hw_no_models:build", r"cannot import 'hw_no_models': ModuleNotFoundError"),
    ):
        with pytest.raises(DataError, match=message):
            make_model(name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_model("resnet19"), r"model 'resnet19': there is none of that name; did you mean resnet18"),
        (lambda: make_model("torchvision:lenet5"), r"'torchvision:lenet5': there is none of that name; did you mean lenet5"),
        (lambda: make_model("zzz"), r"model 'zzz': there is none of that name; known: lenet5, vgg16_cifar10"),
        (lambda: make_model("lenet5", 1, 7), r"model 'lenet5': images of 7 pixels are too small, it takes 8 and more"),
        (
            lambda: make_model("vgg16_cifar10", 1, 28),
            r"'vgg16_cifar10': images of 28 pixels are too small, it takes 32 and more",
        ),
        (lambda: make_model("vgg16"), r"'vgg16': it is made for images of 224 pixels and the images have 32; .* 'vgg16_cifar10'"),
        (lambda: make_model("mobilenet"), r"'mobilenet': there is none of that name; did you mean .*mobilenet_cifar10"),
        (lambda: make_model("vgg16_plain"), r"'vgg16_plain': there is none of that name; did you mean .*vgg16_plain_cifar10"),
        (lambda: make_model("resnet18", in_channels=1), r"torchvision:resnet18: it takes 3 channels and the images have 1"),
        (lambda: make_model("vit_b_16", image_size=30), r"torchvision:vit_b_16: cannot be made for images of 30 pixels"),
    ],
)
def test_refuses_with_the_reason(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_public_checkpoints_load_in_full(shared: Path, depth: int) -> None:
    path = next((shared / "data" / "checkpoints").glob(f"resnet{depth}-*.th"))
    stored = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
    model = make_model(f"resnet{depth}")
    load_weights(model, path)
    for name, value in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, stored[f"module.{name}"]), name


def test_public_checkpoint_of_another_depth(shared: Path) -> None:
    path = next((shared / "data" / "checkpoints").glob("resnet32-*.th"))
    with pytest.raises(DataError, match=r"resnet32-.*does not fit CifarResNet: .*unexpected.*it looks made for resnet32"):
        load_weights(make_model("resnet20"), path)


@pytest.mark.parametrize("wrap", [dict, lambda s: {"state_dict": s}, lambda s: {"net": {f"module.{k}": v for k, v in s.items()}}])
def test_weights_go_in_as_they_came_out(tmp_path: Path, wrap: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    source, target = make_model("lenet5", 1), make_model("lenet5", 1)
    torch.save(wrap(source.state_dict()), tmp_path / "weights.pt")
    load_weights(target, tmp_path / "weights.pt")
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items())


def test_a_checkpoint_of_another_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    model = make_model("lenet5", 1)
    torch.save(make_model("mobilenet_cifar10").state_dict(), path)
    message = r"does not fit LeNet5: 10 missing, first conv1\.weight; .* unexpected, .*looks made for mobilenet_cifar10"
    with pytest.raises(DataError, match=message):
        load_weights(model, path)
    torch.save(make_model("lenet5", 3).state_dict(), path)
    with pytest.raises(DataError, match=r"1 of another shape, first conv1\.weight is \(6, 3, 5, 5\) in the file and \(6, 1"):
        load_weights(model, path)
    torch.save({"some.weight": torch.zeros(1)}, path)
    with pytest.raises(DataError, match=r"1 unexpected, first some\.weight$"):
        load_weights(model, path)


def test_torchvision_checkpoint_of_another_depth(tmp_path: Path) -> None:
    path = tmp_path / "resnet34-333f7ec4.pth"
    torch.save(make_model("resnet34", classes=1000).state_dict(), path)
    with pytest.raises(DataError, match=r"does not fit ResNet: .*it looks made for resnet34"):
        load_weights(make_model("resnet18"), path)


def test_auxiliary_heads_of_a_checkpoint_are_left_out(tmp_path: Path) -> None:
    model = make_model("lenet5", 1)
    torch.save({**model.state_dict(), "AuxLogits.fc.weight": torch.zeros(3)}, tmp_path / "weights.pt")
    before = model.state_dict()["conv1.weight"].clone()
    with torch.no_grad():
        model.get_parameter("conv1.weight").zero_()
    load_weights(model, tmp_path / "weights.pt")
    assert torch.equal(model.state_dict()["conv1.weight"], before)


def test_a_small_file_that_would_take_gigabytes_is_refused(tmp_path: Path) -> None:
    path, plain = tmp_path / "weights.pt", tmp_path / "plain.pt"
    torch.save({"a": torch.zeros(1, 1).expand(10**9, 10**9)}, path)
    with pytest.raises(DataError, match=r"weights\.pt: a repeats values that it does not hold; save tensor.contiguous\(\)"):
        load_weights(make_model("lenet5", 1), path)
    torch.save({"a": torch.zeros(10**5)}, plain)
    with ZipFile(plain) as archive, ZipFile(path, "w", ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    with pytest.raises(DataError, match=r"weights\.pt: is packed \(\d+ bytes in \d+\); save it with torch.save"):
        load_weights(make_model("lenet5", 1), path)


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    model = make_model("lenet5", 1)
    path = tmp_path / "weights.pt"
    with pytest.raises(DataError, match=r"weights\.pt: no such checkpoint file; check the path"):
        load_weights(model, path)
    path.write_text("# not a checkpoint\n")
    with pytest.raises(DataError, match=r"weights\.pt: (is no checkpoint|cannot be read)"):
        load_weights(model, path)
    torch.save(model, path)
    with pytest.raises(DataError, match=r"is no checkpoint, or holds objects other than tensors.*save the weights alone"):
        load_weights(model, path)
    torch.save(model.state_dict(), path)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"weights\.pt: (is no checkpoint|cannot be read)"):
        load_weights(model, path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(DataError, match=r"expected a state dict .*found a mapping with the keys \['epoch'\]"):
        load_weights(model, path)
