"""timm, imported without PyTorch's compiler, which is a third of the start-up time of every verb with a network.

Importing timm loads the whole compiler (`torch._dynamo` with inductor, FSDP, sympy, …: 2 s), which nothing here uses,
for two small things. torchvision's `ops.roi_align` takes one function from `torch._dynamo.utils`; and timm decorates
methods of a network with `torch.compiler.disable`. While timm is imported, both get a stand-in that loads the real one
when it is called. Afterwards timm, torchvision and `torch.compile` work as usual.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

__all__ = ["convert_sync_batchnorm", "group_with_matcher", "resolve_model_data_config", "timm"]

_UTILS = "torch._dynamo.utils"


class _OnDemand(ModuleType):
    """Takes the place of `torch._dynamo.utils` until something in it is used."""

    def is_compile_supported(self, device_type: str) -> bool:
        return bool(_compiler_utils().is_compile_supported(device_type))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system asks whether this is a package
            raise AttributeError(name)
        return getattr(_compiler_utils(), name)


def _compiler_utils() -> ModuleType:
    if isinstance(sys.modules.get(_UTILS), _OnDemand):
        del sys.modules[_UTILS]
    return importlib.import_module(_UTILS)


@contextmanager
def _compiler_on_demand() -> Iterator[None]:
    disable = torch.compiler.disable
    sys.modules.setdefault(_UTILS, _OnDemand(_UTILS))
    torch.compiler.disable = getattr(torch, "_disable_dynamo", disable)  # PyTorch's own lazy version
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if isinstance(sys.modules.get(_UTILS), _OnDemand):
            del sys.modules[_UTILS]


with _compiler_on_demand():
    import timm
    from timm.data import resolve_model_data_config
    from timm.layers import convert_sync_batchnorm
    from timm.models._manipulate import group_with_matcher
