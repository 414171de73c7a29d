"""The images that cleanlab takes for wrongly labeled, with its defaults: each alone, whatever group it is of."""

from __future__ import annotations

import numpy as np

from ssl_mask.data.predictions import PredictionTable
from ssl_mask.errors import InputError


def cleanlab_issues(table: PredictionTable) -> list[int]:
    """Rows of the table, the worst first: `cleanlab.filter.find_label_issues` by self-confidence, on joint classes.

    Raises:
        InputError: cleanlab is not installed.
    """
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise InputError("--cleanlab needs cleanlab.", hint='Install it: pip install "sslmask[clean]"') from error
    present = np.unique(table.true)  # it refuses a class that no image has
    probs = table.probs[:, present].astype(np.float64)
    probs /= np.maximum(probs.sum(axis=1, keepdims=True), 1e-12)
    labels = np.searchsorted(present, table.true)
    found = find_label_issues(labels, probs, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [int(row) for row in found]
