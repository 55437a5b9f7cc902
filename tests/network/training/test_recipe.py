"""What a training does besides taking steps: schedules, averages, image sizes, precision, and what it must not look at."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from hwloop.errors import SpecError
from hwloop.network.data.load import DataSplits, load_data
from hwloop.network.data.own_data import make_splits
from hwloop.network.scoring import accuracy
from hwloop.network.training.averaging import WeightAverage
from hwloop.network.training.devices import find_device, precision_of
from hwloop.network.training.images import cut_out, scaled, smaller_sizes
from hwloop.network.training.schedule import image_size, learning_rate, work
from hwloop.network.training.settings import TrainConfig
from hwloop.network.training.trainer import EpochEvent, StepEvent, train
from hwloop.network.zoo.models import make_model

HOUR = 3600.0


@pytest.fixture(scope="module")
def splits() -> DataSplits:
    return load_data("digits", image_size=12, limit=400)


class Net(nn.Module):
    """Takes images of any size, and remembers which it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.scores = nn.Linear(32, 10)
        self.sides: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.sides.append(x.shape[2])
        return self.scores(self.body(x).flatten(1))


def test_learning_rates_in_closed_form():
    config = TrainConfig(learning_rate=0.4, warmup=0.2)
    assert learning_rate(config, 0.2) == pytest.approx(0.4)
    assert learning_rate(config, 0.1) == pytest.approx(0.2, rel=0.01)
    assert learning_rate(config, 0.6) == pytest.approx(0.2)
    assert learning_rate(config, 1.0) == pytest.approx(0.0)
    assert learning_rate(replace(config, schedule="linear"), 0.8) == pytest.approx(0.1)
    assert learning_rate(replace(config, schedule="constant"), 0.7) == 0.4


def test_sizes_and_work_in_closed_form():
    config = TrainConfig(sizes=(1, 2, 3))
    assert [image_size(config, done) for done in (0.0, 0.3, 0.34, 0.66, 0.67, 1.0)] == [1, 1, 2, 2, 3, 3]
    assert image_size(TrainConfig(), 0.5) == 0
    assert work(config, 1 / 3) == pytest.approx(1 / 14)
    assert work(config, 2 / 3) == pytest.approx(5 / 14)
    assert work(config, 5 / 6) == pytest.approx(9.5 / 14)
    assert [work(TrainConfig(), done) for done in (0.0, 0.25, 1.0)] == [0.0, 0.25, 1.0]


def test_the_images_grow_in_equal_parts_of_the_training(splits: DataSplits):
    model = Net()
    events = train(model, splits, TrainConfig(epochs=4, batch_size=32, sizes=(6, 8, 12)))
    steps = 4 * splits.train.steps(32)
    assert model.sides == [(6, 8, 12)[3 * at // steps] for at in range(steps)]
    assert [event.image_size for event in events] == [6, 8, 12, 12]
    assert events[-1].validation_accuracy == accuracy(model, splits.validation)


def test_validation_images_are_never_learned_from(splits: DataSplits):
    def weights(data: DataSplits) -> dict[str, Tensor]:
        model = Net()
        train(model, data, TrainConfig(epochs=2, sizes=(8, 12)))
        return model.state_dict()

    generator = torch.Generator().manual_seed(5)
    whole = splits.validation
    noise = replace(
        whole,
        images=torch.randint(0, 256, whole.images.shape, generator=generator, dtype=torch.uint8),
        labels=torch.randint(0, 10, whole.labels.shape, generator=generator),
    )
    first, second = weights(splits), weights(replace(splits, validation=noise, load_test=None))
    assert all(torch.equal(first[name], second[name]) for name in first)  # BatchNorm's statistics included
    swapped = weights(replace(splits, train=noise))
    assert not torch.equal(first["scores.weight"], swapped["scores.weight"])  # the training images are


def test_hours_bound_the_training_and_move_its_schedule(splits: DataSplits):
    seconds = iter(range(10**9))
    sizes, told = [], []

    def on_step(event: StepEvent) -> None:
        sizes.append(event.image_size)
        told.append(event)

    model = Net()
    config = TrainConfig(hours=100 / HOUR, batch_size=32, sizes=(8, 12))
    events = train(model, splits, config, on_step=on_step, clock=lambda: float(next(seconds)))
    steps = splits.train.steps(32)
    assert len(events) == math.ceil(100 / (steps + 1))  # a tick a step, and one for the score
    assert all(event.epochs == 0 for event in events)
    assert all(event.images == len(splits.train) for event in events[:-1])
    assert events[-1].images < len(splits.train)
    assert sizes == sorted(sizes)
    assert sizes.count(8) == pytest.approx(sizes.count(12), abs=5)
    assert (told[-1].done, told[-1].seconds_left) == (1.0, 0.0)
    for event in told:
        assert event.done == pytest.approx(1 - event.seconds_left / 100)


def test_the_time_left_follows_the_pixels(splits: DataSplits):
    now = 0.0
    told: list[StepEvent] = []
    model = Net()

    def clock() -> float:  # a second for 8 x 8 pixels, 2.25 for 12 x 12
        return now

    def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal now
        now += inputs[0].shape[2] ** 2 / 64 if torch.is_grad_enabled() else 0.0

    model.register_forward_pre_hook(hook)
    train(model, splits, TrainConfig(epochs=2, batch_size=32, sizes=(8, 12)), on_step=told.append, clock=clock)
    steps = splits.train.steps(32)
    assert told[0].seconds_left == pytest.approx(steps * 3.25 - 1)
    assert told[-1].seconds_left == pytest.approx(0)


def test_an_average_in_closed_form():
    model = nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, 16.0)
    expected, share = 0.0, 1 - math.exp(-0.5)
    for step in range(1, 65):
        model.weight.data.fill_(step)
        average.update(model)
        if step % 8 == 0:
            expected += max(share, min(1.0, 8 / step)) * (step - expected)
    average.load_into(model)
    assert model.weight.item() == pytest.approx(expected)


def test_the_average_has_batchnorm_statistics_of_its_own(splits: DataSplits):
    model = Net()
    train(model, splits, TrainConfig(epochs=3, averaging=1.0))
    plain = replace(splits.train, images=splits.train.images)
    norm = model.body[1]
    inputs = torch.cat([model.body[0](x) for x, _ in plain.batches(64, torch.Generator().manual_seed(0), splits.augmentation)])
    assert torch.allclose(norm.running_mean, inputs.mean((0, 2, 3)), atol=0.02)
    assert torch.allclose(norm.running_var, inputs.var((0, 2, 3)), rtol=0.05)


def test_an_average_smooths(splits: DataSplits):
    """At a constant rate the weights of the last step are noisy, their average is less so."""

    def loss(averaging: float) -> float:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(144, 10))
        config = TrainConfig(epochs=8, batch_size=8, learning_rate=0.2, schedule="constant", averaging=averaging, augment=False)
        train(model, splits, config)
        images, labels = splits.train.tensors()
        with torch.no_grad():
            return float(nn.functional.cross_entropy(model(images), labels))

    assert loss(1.0) < 0.8 * loss(0.0)


def test_cutout_blanks_one_square_of_each_image():
    images = cut_out(torch.ones(50, 3, 12, 12), 4, torch.Generator().manual_seed(0))
    blank = images == 0
    assert torch.equal(blank[:, 0], blank[:, 2])
    areas = blank[:, 0].sum((1, 2))
    assert areas.max() == 16
    assert areas.min() >= 4  # a centre in the corner leaves a quarter
    rows, columns = blank[:, 0].any(2).sum(1), blank[:, 0].any(1).sum(1)
    assert torch.equal(rows * columns, areas)  # a rectangle


def test_scaling_keeps_what_fits():
    images = torch.rand(2, 3, 12, 12)
    assert scaled(images, 12) is images
    assert scaled(images, 0) is images
    assert scaled(images, 6).shape == (2, 3, 6, 6)
    assert torch.allclose(scaled(torch.full((1, 1, 12, 12), 0.3), 8), torch.tensor(0.3))


@pytest.mark.parametrize(
    "name, expected",
    [("vgg16_cifar10", (24, 32)), ("resnet20", (24, 32)), ("mobilenet_cifar10", (24, 32)), ("lenet5", ())],
)
def test_sizes_are_chosen_where_the_network_takes_them(name: str, expected: tuple[int, ...]):
    images = torch.zeros(20, 3, 32, 32)
    data = make_splits((images, torch.arange(20) % 2))
    assert smaller_sizes(make_model(name, 3, 32, 10), data) == expected
    small = make_splits((images[:, :, :28, :28], torch.arange(20) % 2))
    assert smaller_sizes(make_model("resnet20"), small) == ()


def test_the_small_vgg_is_the_same_network_at_its_own_size():
    model = make_model("vgg16_cifar10").eval()
    images = torch.rand(2, 3, 32, 32)
    expected = model(images)
    for module in model.modules():
        if isinstance(module, nn.MaxPool2d):
            module.ceil_mode = False
    assert torch.equal(model(images), expected)


def test_a_precision_by_itself(monkeypatch: pytest.MonkeyPatch):
    models = {name: make_model(name) for name in ("vgg16_cifar10", "resnet20", "mobilenet_cifar10")} | {
        "lenet5": make_model("lenet5", 1, 28)
    }

    def chosen(**capabilities: bool) -> dict[str, str]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
        return {name: precision_of(TrainConfig(), model) for name, model in models.items()}

    slow = dict.fromkeys(models, "float32")
    assert chosen(avx512_f=True, avx512_bf16=False) == slow
    assert chosen(avx512_bf16=True) == slow | {"vgg16_cifar10": "bfloat16", "resnet20": "bfloat16"}
    assert precision_of(TrainConfig(precision="float16"), models["lenet5"]) == "float16"


def test_bfloat16_learns_too(splits: DataSplits):
    model = Net()
    losses = [event.loss for event in train(model, splits, TrainConfig(epochs=3, precision="bfloat16"))]
    assert losses[-1] < losses[0]
    assert all(tensor.dtype == torch.float32 for tensor in model.parameters())


def test_a_scaled_loss_learns_too(splits: DataSplits):
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 10))
    losses = [event.loss for event in train(model, splits, TrainConfig(epochs=3, precision="float16"))]
    assert losses[-1] < losses[0]


def test_sizes_need_images():
    data = make_splits((torch.randn(30, 4), torch.arange(30) % 3))
    with pytest.raises(SpecError, match=r"training\.sizes: expected none: the examples are no images"):
        train(nn.Linear(4, 3), data, TrainConfig(epochs=1, sizes=(8,)))
    with pytest.raises(SpecError, match=r"training\.cutout: expected none"):
        train(nn.Linear(4, 3), data, TrainConfig(epochs=1, cutout=2))


def test_devices_by_name():
    assert find_device("cpu") == torch.device("cpu")
    assert find_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("tpu", "cuda:77", "", "xpu"):
        with pytest.raises(SpecError, match="--device: expected auto or one of those here: cpu"):
            find_device(name)


@pytest.mark.gpu
def test_a_gpu_learns_and_resumes_by_itself(splits: DataSplits):
    model = Net().to(find_device("cuda"))
    events: list[EpochEvent] = []
    train(model, splits, TrainConfig(epochs=6, batch_size=32, sizes=(8, 12), cutout=2), on_event=events.append)
    assert events[-1].loss < events[0].loss
    assert next(model.parameters()).device.type == "cuda"
