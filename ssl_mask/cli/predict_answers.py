"""What `sslmask predict --json` says: where the predictions are, what was unreadable, and what scores on them count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_mask.workflows.predict import Predictions
    from ssl_mask.workflows.predict_exported import ExportedPredictions


def answer_of(done: Predictions | ExportedPredictions) -> dict[str, Any]:
    """What is known of all predictions, an exported network's too."""
    return {
        "path": str(done.path),
        "rows": len(done.manifest),
        "unreadable": {done.manifest.rows[i].path: why for i, why in sorted(done.unreadable.items())},
        "leakage": done.leakage and done.leakage.status,
        "why": list(done.leakage.why) if done.leakage else [],
    }


def prediction_answer(done: Predictions) -> dict[str, Any]:
    """Of runs and studies: also what was chosen for them."""
    return {
        **answer_of(done),
        "weights": done.weights and done.weights.to_json(),
        "neighbours": done.neighbours and [{f: r.to_json() for f, r in own.items()} for own in done.neighbours],
        "unknown": done.unknown and done.unknown.to_json(),
        "sets": done.sets and done.sets.to_json(),
    }
