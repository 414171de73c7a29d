"""How strange images are to a gallery: the distance to its k-th nearest group, for it has no logits.

An image of the gallery is compared with the other groups, by the networks that were not trained on it; those that the
same networks were not trained on are judged together, and a new image by these networks. A new image is compared with
one group more, its own being unknown: it looks nearer, if anything, so that no more images are marked than should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ssl_mask.data.manifest import Manifest
from ssl_mask.evaluation.unknown import COUNTS, Strangeness, held_out_classes, neighbour, targets
from ssl_mask.inference.gallery_predictor import GalleryPredictor
from ssl_mask.inference.gallery_scores import UNSEEN, by_networks, seen_by
from ssl_mask.inference.nearest import group_distances, group_numbers
from ssl_mask.inference.unseen import no_unseen_images, spread
from ssl_mask.runs.sources import Source


@dataclass(frozen=True)
class GalleryModel:
    """Some networks of a gallery, and images of it that they were not trained on."""

    gallery: GalleryPredictor
    columns: NDArray[np.bool_]
    """(d,) what these networks make of a vector."""
    rows: NDArray[np.int64]
    """(m,) of the gallery."""

    def judged(self) -> dict[str, Strangeness]:
        """Of each target, how strange its own images are, whole and with each class left out in turn."""
        table, schema, labels = self.gallery.table, self.gallery.schema, self.gallery.labels
        unit = np.where(table.group == "", table.path, table.group)[self.rows]
        whole, found = self._distances(np.ones(len(table), np.bool_)), dict[str, Strangeness]()
        for target in targets(schema):
            classes = labels[:, list(schema.sizes).index(target)] if target else schema.join(labels)
            true = classes[self.rows]
            without = {
                c: self._distances(classes != c)
                for c in held_out_classes(true)
                if len(np.unique(self._groups[classes != c])) > 1
            }
            found[target] = Strangeness(whole, without, true, unit)
        return found

    def scored(self, rows: Manifest, wanted: Mapping[str, str]) -> dict[str, NDArray[np.float32]]:
        """(n,) one score of new images for each target."""
        vectors = seen_by(self.gallery.embed(rows).vectors, self.columns)
        far = group_distances(vectors, self._vectors, self._groups, COUNTS, device=self.gallery.device)
        return {target: far[k] for target, name in wanted.items() for k in COUNTS if neighbour(k) == name}

    def _distances(self, kept: NDArray[np.bool_]) -> dict[str, NDArray[np.float32]]:
        """Of its own images to the k-th nearest other group. `kept` (n,): images that count."""
        far = group_distances(
            self._vectors[self.rows], self._vectors[kept], self._groups[kept], COUNTS, device=self.gallery.device,
            without=self._groups[self.rows],
        )  # fmt: skip
        return {neighbour(k): own for k, own in far.items()}

    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        return seen_by(self.gallery.table.vectors, self.columns)

    @cached_property
    def _groups(self) -> NDArray[np.int64]:
        return group_numbers(self.gallery.table.group.tolist())


def gallery_models(source: Source, gallery: GalleryPredictor) -> list[GalleryModel]:
    """The networks that judge together. Raises DataError where they were trained on all images."""
    known = np.flatnonzero(gallery.table.more[UNSEEN])
    if not len(known):
        raise no_unseen_images(source)
    widths = [member.width for member in source.gallery.record().members]
    return [
        GalleryModel(gallery, columns, known[own[spread(len(own))]])
        for own, columns in by_networks(gallery.table, known, widths)
    ]
