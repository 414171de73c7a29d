"""What a run's status and checkpoint record about the data."""

from __future__ import annotations

import hashlib

from ssl_mask.config import RunConfig
from ssl_mask.data.load import TrainingData
from ssl_mask.runs.records import DataRecord, PseudoRecord, UnlabeledRecord


def data_digest(data: TrainingData) -> str:
    """SHA-256 of all rows in their order, with the names of their classes: all that a step depends on."""
    sets = (data.train, data.val, data.unlabeled, data.pseudo)
    tables = [repr(data.manifest.schema.to_json()), *(s.manifest.to_csv() for s in sets if s is not None)]
    return hashlib.sha256("\0".join(tables).encode(errors="surrogateescape")).hexdigest()


def data_record(config: RunConfig, data: TrainingData) -> DataRecord:
    """Counts and digests of everything that is trained on and validated on."""
    manifest, unlabeled, labels = data.labeled, data.unlabeled, data.pseudo_labels
    return DataRecord(
        content_hash=manifest.content_hash,
        layout=manifest.layout,
        root=str(manifest.root),
        grouped=manifest.grouped,
        train_images=len(data.train),
        val_images=len(data.val),
        train_groups=len(set(data.train.manifest.groups)),
        val_groups=len(set(data.val.manifest.groups)),
        left_out=len(data.left_out),
        unlabeled=None
        if unlabeled is None
        else UnlabeledRecord(
            sources=list(config.data.unlabeled) or [unlabeled.manifest.message],
            images=len(unlabeled),
            content_hash=unlabeled.manifest.content_hash,
            left_out=len(unlabeled.left_out),
        ),
        pseudo=None
        if labels is None
        else PseudoRecord(table=str(config.data.pseudo_labels), images=len(labels), sha256=labels.sha256),
    )
