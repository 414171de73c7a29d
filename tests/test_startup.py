"""What a verb loads before it starts. Each of these costs a tenth of a second to two seconds of a core."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMPILER = {"torch._dynamo", "torch._inductor", "sympy"}
NETWORKS = COMPILER | {"torch", "timm", "accelerate"}
REPORTS = {"scipy", "sklearn", "pandas", "matplotlib"}


def loaded(code: str) -> set[str]:
    """Names in sys.modules after this code ran in a Python of its own."""
    code += "\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("workflow", "unwanted"),
    [
        ("predict", COMPILER | REPORTS),
        ("predict_exported", NETWORKS | REPORTS),
        ("bench", NETWORKS | REPORTS),
        ("evaluate", NETWORKS | REPORTS),
        ("audit", NETWORKS | REPORTS),
        ("pseudo", COMPILER | REPORTS),  # it imports train
    ],
)
def test_a_workflow_loads_only_what_it_needs(workflow: str, unwanted: set[str]) -> None:
    modules = loaded(f"import ssl_mask.workflows.{workflow}")
    assert "numpy" in modules
    assert sorted(unwanted & modules) == []


@pytest.mark.slow
def test_the_compiler_works_after_timm_was_imported_without_it() -> None:
    """torchvision's operator asks the real compiler; timm's decorated methods run; all stand-ins are gone."""
    loaded(
        """
import sys, torch
from ssl_mask.models.backbones import create_backbone
before = torch.compiler.disable
assert not [name for name in sys.modules if name.startswith("torch._dynamo")]
import torchvision
boxes = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])
cut = torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), boxes, output_size=2)
assert cut.shape == (1, 1, 2, 2) and bool((cut == 1).all())
net = create_backbone("naflexvit_base_patch16_gap", weights="none").net
assert net(torch.zeros(1, 3, 224, 224)).shape == (1, 768)
import torch._dynamo.utils
assert torch._dynamo.utils.counters is not None
assert torch.compiler.disable is before and before.__module__ == "torch.compiler"
"""
    )


@pytest.mark.slow
def test_what_the_user_imports_first_is_left_alone() -> None:
    loaded(
        """
import torchvision
import sys
utils = sys.modules["torch._dynamo.utils"]
from ssl_mask.models.backbones import create_backbone
assert sys.modules["torch._dynamo.utils"] is utils
create_backbone("resnet18", weights="none")
"""
    )


@pytest.mark.slow
def test_anything_else_of_the_compiler_may_be_asked_for_meanwhile() -> None:
    """Such as another version of torchvision would: it gets the real thing, and nothing is left behind."""
    loaded(
        """
import sys
from ssl_mask.models.lean_timm import _compiler_on_demand
with _compiler_on_demand():
    from torch._dynamo.utils import is_compile_supported, counters
assert sys.modules["torch._dynamo.utils"].counters is counters
assert is_compile_supported("cpu") == sys.modules["torch._dynamo.utils"].is_compile_supported("cpu")
"""
    )


TRAINING = """
import sys, torch
from ssl_mask.training.optim import build_optimizer
from ssl_mask.training.lean_optim import without_compiler
net = torch.nn.Linear(2, 2)
optimizer = build_optimizer(net, kind="adamw", lr=0.1, backbone_lr_scale=1, weight_decay=0.1, momentum=0.9)
net(torch.ones(1, 2)).sum().backward()
with without_compiler():
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
"""


def test_an_optimizer_works_without_the_compiler() -> None:
    assert sorted(COMPILER & loaded(TRAINING)) == []


@pytest.mark.slow
def test_the_compiler_knows_optimizers_that_worked_without_it() -> None:
    """As without us: their methods are told not to be compiled when they are next called; a step compiles."""
    loaded(
        TRAINING
        + """
zero_grad = torch.optim.Optimizer.zero_grad.__wrapped__
assert not hasattr(zero_grad, "__dynamo_disable")
import torch._dynamo
optimizer.zero_grad()
assert zero_grad.__dynamo_disable is not zero_grad
net(torch.ones(1, 2)).sum().backward()
torch.compile(optimizer.step, backend="eager")()
"""
    )


@pytest.mark.slow
def test_an_optimizer_that_asks_more_of_the_compiler_gets_the_real_one() -> None:
    loaded(
        """
import sys, torch
from ssl_mask.training.lean_optim import without_compiler
with without_compiler():
    torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])
    assert torch._dynamo.config.suppress_errors is False
    assert torch._dynamo is sys.modules["torch._dynamo"]
assert callable(sys.modules["torch._dynamo"].optimize)
"""
    )
