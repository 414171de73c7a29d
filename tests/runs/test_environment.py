"""What a run says it was made with."""

from __future__ import annotations

from importlib import metadata

import pytest

from ssl_mask.runs import environment


def test_a_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "a-package-that-nobody-has"))
    assert environment.package_versions() == {"numpy": metadata.version("numpy")}
