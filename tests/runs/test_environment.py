"""What a run says it was made with."""

from __future__ import annotations

from importlib import metadata

import pytest

from ssl_mask.runs import environment


def test_a_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "a-package-that-nobody-has"))
    assert environment.package_versions() == {"numpy": metadata.version("numpy")}


def test_a_checkout_on_the_python_path_alone_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert environment.code_version().startswith("not installed")
