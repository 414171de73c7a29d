"""What several processes or GPUs change, proven on one CPU: the network stays the same, processes are threads here."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from timm.layers.norm_act import BatchNormAct2d
from tiny_runs import TINY
from torch import Tensor, nn

from ssl_mask.config import RunConfig, merge, validate
from ssl_mask.errors import ConfigError, TrainingError
from ssl_mask.models.classifier import Classifier, build_classifier
from ssl_mask.training import loop, parallel
from ssl_mask.training.parallel import freeze_unused, refuse_single_images, share_norms

Tiny = Callable[..., RunConfig]
GPU, CPU = torch.device("cuda"), torch.device("cpu")


def classifier(backbone: str, size: int = 64, **settings: Any) -> Classifier:
    torch.manual_seed(0)
    weights = "auto" if backbone == "embedded" else "none"
    return build_classifier({"a": 3, "b": 2}, backbone=backbone, weights=weights, image_size=size, **settings)[0]


def images(count: int, size: int = 64) -> Tensor:
    return torch.randint(256, (count, size, size, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def with_lived_norms(model: nn.Module) -> nn.Module:
    """Batch statistics that are not the initial ones."""
    rng = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.add_(0.1 * torch.randn(module.num_features, generator=rng))
            module.running_var.mul_(0.5 + torch.rand(module.num_features, generator=rng))
    return model


@pytest.mark.parametrize("device", [GPU, CPU], ids=["gpu", "cpu"])
@pytest.mark.parametrize(
    ("backbone", "settings"),
    [
        ("embedded", {}),
        ("test_efficientnet", {"neck": "linear-bn-prelu"}),
        ("test_resnet", {}),
        ("test_vit", {"size": 160}),
    ],
)
def test_shared_norms_do_not_change_what_the_network_says(
    backbone: str, settings: dict[str, Any], device: torch.device
) -> None:
    model = with_lived_norms(classifier(backbone, **settings)).eval()
    batch = images(2, settings.get("size", 64))
    before = {k: v.clone() for k, v in model(batch).items()}
    names = list(model.state_dict())
    share_norms(model, device)
    after = model.eval()(batch)
    assert all(torch.equal(after[name], z) for name, z in before.items())
    assert list(model.state_dict()) == names
    shared = [m for m in model.modules() if isinstance(m, nn.SyncBatchNorm | parallel.SharedNorm)]
    assert len(shared) == sum(n.endswith("running_var") for n in names) > 0


class Meeting:
    """Two threads that wait for each other, and add what they bring."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=10)
        self.values: dict[int, Tensor] = {}

    def summed(self, value: Tensor) -> Tensor:
        self.values[threading.get_ident()] = value.detach().clone()
        self.barrier.wait()
        total = torch.stack(list(self.values.values())).sum(dim=0)
        self.barrier.wait()
        return total


def norm_and_input(kind: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(3)
    made: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "1d": (nn.BatchNorm1d(4), (7, 4)),
        "2d": (nn.BatchNorm2d(4), (7, 4, 3, 5)),
        "timm's, with its activation": (BatchNormAct2d(4, act_layer=nn.SiLU), (7, 4, 3, 5)),
        "cumulative": (nn.BatchNorm2d(4, momentum=None), (7, 4, 3, 5)),
        "without weights": (nn.BatchNorm2d(4, affine=False), (7, 4, 3, 5)),
    }
    norm, shape = made[kind]
    if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm.double(), 3.0 + torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["1d", "2d", "timm's, with its activation", "cumulative", "without weights"])
def test_two_processes_normalise_as_one_also_with_unequal_shares(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    norm, whole = norm_and_input(kind)
    goal = torch.randn_like(whole)
    shares = [slice(0, 2), slice(2, 7)]
    nets = [copy.deepcopy(norm) for _ in shares]
    expected_in = whole.clone().requires_grad_()
    for _ in range(2):  # twice: running statistics move twice
        expected = norm(expected_in)
    (expected * goal).sum().backward()

    meeting = Meeting()
    monkeypatch.setattr(parallel, "_summed", meeting.summed)
    for net in nets:
        holder = nn.Sequential(net)
        share_norms(holder, CPU)

    def rank(number: int) -> tuple[Tensor, Tensor, nn.Module]:
        own, net = whole[shares[number]].clone().requires_grad_(), nets[number]
        for _ in range(2):
            out = net(own)
        (out * goal[shares[number]]).sum().backward()
        assert own.grad is not None
        return out, own.grad, net

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(rank, range(2)))
    assert expected_in.grad is not None
    torch.testing.assert_close(torch.cat([out for out, _, _ in done]), expected)
    torch.testing.assert_close(torch.cat([grad for _, grad, _ in done]), expected_in.grad)
    for name, value in norm.named_parameters():
        assert value.grad is not None
        torch.testing.assert_close(sum(net.get_parameter(name).grad for _, _, net in done), value.grad)  # type: ignore[misc]
    for _, _, net in done:
        torch.testing.assert_close(net.state_dict(), norm.state_dict())


def test_shared_norms_keep_the_type_of_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_summed", lambda value: value.clone())
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    share_norms(model, CPU)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(torch.randn(5, 4))
    assert out.dtype == torch.bfloat16
    assert model[1].running_var is not None and model[1].running_var.dtype == torch.float32
    assert abs(float(out.detach().float().std(dim=0, correction=0).mean()) - 1.0) < 0.02


def test_weights_without_a_gradient_are_frozen_and_no_others() -> None:
    """With GeM pooling the norm in ConvNeXt's own pooling is idle: several GPUs refuse to train such a network."""
    model = classifier("test_convnext", pooling="gem", drop_path=0.1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    freeze_unused(model, 64)
    assert model.training
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"backbone.head.norm.weight", "backbone.head.norm.bias"}
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    torch.stack([z.sum() for z in model(images(4)).values()]).sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def asked(**sections: Any) -> RunConfig:
    return validate(merge(TINY, sections))


@pytest.mark.parametrize(
    "train", [{"batch_size": 1}, {"batch_size": 8, "accumulate": 8}], ids=["a batch of one", "parts of one"]
)
def test_single_images_are_refused_with_the_configuration(train: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"leaves 1 image a part; batch norm \(model\.neck linear-bn\) needs 2"):
        asked(train=train)
    assert asked(train=train, model={"neck": "none"}).train.batch_size == train["batch_size"]


@pytest.mark.parametrize(
    ("sections", "processes", "message"),
    [
        ({"train": {"batch_size": 1}, "model": {"neck": "none"}}, 1, r"1 image a part; .*\(model\.backbone test_eff"),
        ({"train": {"batch_size": 4}, "model": {"sync_norm": False}}, 4, r"1 image a part on each process; .*backbone"),
        (
            {
                "train": {"batch_size": 4, "accumulate": 2},
                "algorithm": {"name": "uda", "mu": 0.5, "weak_mode": "train"},
            },
            1,
            r"algorithm\.mu 0\.5 leaves 1 unlabeled image a part; .* with algorithm\.weak_mode train",
        ),
        ({"train": {"batch_size": 4}}, 4, None),  # shared: four images
        ({"train": {"batch_size": 1}, "model": {"neck": "none", "freeze_norm": True}}, 1, None),
        ({"train": {"batch_size": 1}, "model": {"neck": "none", "backbone": "test_vit", "image_size": 160}}, 1, None),
    ],
)
def test_single_images_are_refused_where_statistics_are_of_one(
    sections: dict[str, Any], processes: int, message: str | None
) -> None:
    def check() -> None:
        config = asked(**sections)
        settings = config.model.model_dump(exclude={"sync_norm"})
        refuse_single_images(config, build_classifier({"a": 3}, **settings)[0], processes)

    if message is None:
        check()
        return
    with pytest.raises(ConfigError, match=message):
        check()


@pytest.fixture
def group_of_one() -> Iterator[None]:
    """DistributedDataParallel needs a process group, though it be of one."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group_of_one")
def test_training_goes_on_in_training_mode_after_an_evaluation() -> None:
    """An evaluation looks at the network itself; its wrapper for several processes does not see the change of mode."""
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    seen: list[bool] = []

    class Watching:
        def losses(self, model: nn.Module, batch: Any, progress: float) -> Any:  # noqa: ARG002
            seen.append(network.training)
            return loop.Losses({"a": model(torch.randn(4, 2)).sum()}, {})

    accelerator = Accelerator()
    training = loop.Training(
        accelerator, nn.parallel.DistributedDataParallel(network), torch.optim.SGD(network.parameters(), lr=0.1),
        SimpleNamespace(set=lambda *_: 1.0), None, Watching(), None, steps=3, accumulate=1, seed=0,
    )  # type: ignore[arg-type] # fmt: skip
    part = loop.Batch(SimpleNamespace(parts=lambda _: [None]))  # type: ignore[arg-type]
    for _ in loop.train_steps(training, [part] * 3, start=0):
        network.eval()
    assert seen == [True, True, True]


def test_all_processes_stop_when_the_loss_of_one_is_not_finite() -> None:
    asked_to_add: list[str] = []

    def reduce(values: Tensor, reduction: str) -> Tensor:
        asked_to_add.append(reduction)
        return values + float("nan")

    two: Any = SimpleNamespace(num_processes=2, reduce=reduce)
    with pytest.raises(TrainingError, match=r"loss is nan at step 4 \(mask nan\)"):
        loop._refuse_infinite(torch.tensor(1.0), {"mask": torch.tensor(1.0)}, 3, two)
    assert asked_to_add == ["mean"]
