"""Optimizers without PyTorch's compiler, whose import would be a sixth of a short training (2 to 5 s of a core).

PyTorch's optimizers import all of `torch._dynamo` only to tell it not to compile some of their methods. Where it is not
loaded, a stand-in takes its place for as long as an optimizer is used. Afterwards all is as before.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
_KEPT = "__dynamo_disable"  # where a method keeps what `disable` made of it


class _NoCompiler(ModuleType):
    """Takes what an optimizer says to the compiler, and gives way to it when anything else is asked for."""

    def __init__(self) -> None:
        super().__init__(_COMPILER)
        self.told: list[Callable[..., Any]] = []

    def disable(self, fn: Callable[..., Any], *_: object, **__: object) -> Callable[..., Any]:
        self.told.append(fn)
        return fn

    def graph_break(self, *_: object, **__: object) -> None:
        pass

    def leave(self) -> None:
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]
        while self.told:
            vars(self.told.pop()).pop(_KEPT, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # the import system asks
            raise AttributeError(name)
        self.leave()
        return getattr(importlib.import_module(_COMPILER), name)


@contextmanager
def without_compiler() -> Iterator[None]:
    """Use an optimizer in the `with` block, or in a function that this decorates, without loading the compiler."""
    if _COMPILER in sys.modules:
        yield
        return
    stand_in = _NoCompiler()
    sys.modules[_COMPILER] = stand_in
    try:
        yield
    finally:
        stand_in.leave()
