"""What is predicted: one factor (a flat label) or several (one head per factor), and how they join into one class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_mask.errors import ConfigError, DataError, did_you_mean


@dataclass(frozen=True)
class Factor:
    """One thing to predict and its classes, in the order of their indices."""

    name: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class LabelSchema:
    """Ordered factors. The joint class counts through them with the last factor fastest (mixed radix)."""

    factors: tuple[Factor, ...]

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Number of classes of each factor, in order."""
        return {f.name: len(f.classes) for f in self.factors}

    @cached_property
    def joint_classes(self) -> tuple[str, ...]:
        """Names of the joint classes, such as `worn/male/<30`."""
        names = [""]
        for factor in self.factors:
            names = [f"{left}/{c}" if left else c for left in names for c in factor.classes]
        return tuple(names)

    def encode(self, names: Mapping[str, str], *, where: str) -> tuple[int, ...]:
        """Class indices of one image, from one class name per factor.

        Raises:
            DataError: an unknown class; the message names `where` (file and row).
        """
        return tuple(self.index_of(f, names[f.name], where=where) for f in self.factors)

    @staticmethod
    def index_of(factor: Factor, name: str, *, where: str) -> int:
        if name not in factor.classes:
            hint = did_you_mean(name, list(factor.classes))
            raise DataError(f"{where}: {factor.name} {name!r} is not a known class.", hint=hint)
        return factor.classes.index(name)

    def refuse_unknown(self, names: Iterable[str], key: str) -> None:
        """Check the class names at a key of the configuration: each must be a class of a factor, or a joint class.

        Raises:
            ConfigError: an unknown class; the message names the key.
        """
        known = [c for f in self.factors for c in f.classes] + list(self.joint_classes)
        for name in names:
            if name not in known:
                raise ConfigError(f"{key}: there is no class {name!r}.", hint=did_you_mean(name, known))

    def join(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n, factors) class indices -> (n,) joint class."""
        joint = np.zeros(len(labels), dtype=np.int64)
        for column, size in enumerate(self.sizes.values()):
            joint = joint * size + labels[:, column]
        return joint

    def part(self, joint: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) joint class -> (n, factors) class indices; the inverse of `join`."""
        columns: list[NDArray[np.int64]] = []
        for size in reversed(self.sizes.values()):
            columns.append(joint % size)
            joint = joint // size
        return np.stack(columns[::-1], axis=1)

    def class_names(self, labels: NDArray[np.int64]) -> list[tuple[str, ...]]:
        """(n, factors) class indices -> the names of each row's classes."""
        return [tuple(f.classes[i] for f, i in zip(self.factors, row, strict=True)) for row in labels.tolist()]

    def marginals(self, probs: NDArray[np.floating[Any]]) -> dict[str, NDArray[np.float32]]:
        """(n, joint classes) probabilities -> (n, classes) per factor."""
        shaped = probs.reshape(len(probs), *self.sizes.values())
        axes = range(1, shaped.ndim)
        return {
            name: shaped.sum(axis=tuple(a for a in axes if a != axis)).astype(np.float32)
            for axis, name in zip(axes, self.sizes, strict=True)
        }

    def product(self, parts: Mapping[str, NDArray[np.floating[Any]]]) -> NDArray[np.float32]:
        """(n, classes) per factor, taken as independent -> (n, joint classes); then the inverse of `marginals`."""
        first, *rest = parts.values()
        joint = first
        for part in rest:
            joint = (joint[:, :, None] * part[:, None, :]).reshape(len(joint), -1)
        return joint.astype(np.float32)

    def heads(self, target: str) -> dict[str, int]:
        """Heads of a model for this schema: one per factor, or a single one named `joint`."""
        if target == "factors" or len(self.factors) == 1:
            return dict(self.sizes)
        return {"joint": len(self.joint_classes)}

    def head_classes(self, target: str) -> dict[str, tuple[str, ...]]:
        """Class names of each head."""
        if target == "factors" or len(self.factors) == 1:
            return {f.name: f.classes for f in self.factors}
        return {"joint": self.joint_classes}

    def head_labels(self, labels: NDArray[np.int64], target: str) -> NDArray[np.int64]:
        """(n, factors) class indices -> (n, heads) class indices."""
        if target == "factors" or len(self.factors) == 1:
            return labels
        return self.join(labels)[:, None]

    def to_json(self) -> list[dict[str, Any]]:
        return [{"name": f.name, "classes": list(f.classes)} for f in self.factors]

    @classmethod
    def from_json(cls, content: Sequence[Mapping[str, Any]]) -> LabelSchema:
        return cls(tuple(Factor(str(f["name"]), tuple(map(str, f["classes"]))) for f in content))
