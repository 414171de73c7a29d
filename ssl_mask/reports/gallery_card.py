"""The card of a gallery: what is in it, where it came from, and its score on images that its network has not seen."""

from __future__ import annotations

import numpy as np

from ssl_mask.data.predictions import PredictionTable, read_validation
from ssl_mask.evaluation.metrics import bootstrap
from ssl_mask.inference.gallery_scores import OldAndNew
from ssl_mask.reports.run_card import class_section
from ssl_mask.runs.gallery import BUILT, GalleryDir
from ssl_mask.text import code, md, md_table, shown


def gallery_card(gallery: GalleryDir) -> str:
    """Markdown. Raises DataError when gallery.json or the validation predictions are missing or damaged."""
    path, record = gallery.path, gallery.record()
    scored = gallery.validation(record)
    honest = None if scored is None else read_validation(scored, record.label_schema)
    reason = f" ({md(record.leakage_reason)})" if record.leakage_reason else ""
    parts = [
        f"# Gallery {md(str(path))}",
        _score(honest),
        f"**Leakage: {record.leakage}**{reason}",
        "## Images",
        md_table(("put in as", "images", "from", "leakage"), [
            (md(part.name if part.name != BUILT else "(built of)"), str(part.images), code(part.data), part.leakage)
            for part in record.parts
        ]),
        *([] if honest is None else ["## Classes (validation)", class_section(honest, "validation images")]),
        "## Use it",
        f"The {record.k} nearest persons (groups) vote, each with its nearest image (temperature "
        f"{record.temperature}). The network of {code(record.source)} embeds.\n\n`sslmask predict --run {path}` "
        "predicts, `sslmask gallery add CLASS FOLDER` puts a class in.",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _score(honest: PredictionTable | None) -> str:
    """The score, and in a line each what limits its worth."""
    if honest is None:
        return "**No score**: no image is in it that the network was not trained on."
    found = bootstrap(honest.true, honest.predicted, honest.group, len(honest.classes))
    f1 = found["macro_f1"]
    score = (
        f"**Macro-F1 {f1.value:.4f}** (95 % interval {f1.low:.3f} to {f1.high:.3f}), accuracy "
        f"{found['accuracy'].value:.4f}, on {len(honest)} images that the network was not trained on, by their "
        "neighbours of other groups."
    )
    notes = []
    if alone := int((honest.group == honest.path).sum()):
        notes.append(
            f"**Optimistic, intervals too narrow**: of {alone} images no group (person) is known, so each counts by "
            "itself, and another image of the same person may vote on it."
        )
    if lacking := len(honest.classes) - len(np.unique(honest.true)):
        notes.append(f"**{lacking} of {len(honest.classes)} classes have no such image**: macro-F1 counts them as 0.")
    return "\n\n".join([score, *(["\n".join(f"- {note}" for note in notes)] if notes else [])])


def scores_told(scores: OldAndNew | None) -> list[str]:
    """What a change does to old and new classes, in lines."""
    if scores is None:
        return ["Scores no image is in it that the network was not trained on, so nothing can be scored"]
    lines = []
    if scores.old_images:
        (accuracy, f1), (accuracy_after, f1_after) = scores.before, scores.after
        lines.append(
            f"Old    classes: accuracy {accuracy:.3f} before, {accuracy_after:.3f} after; macro-F1 {f1:.3f} before, "
            f"{f1_after:.3f} after ({scores.old_images} images, by neighbours of other groups)"
        )
    for name, recall in scores.recall.items():
        if recall is None:
            lines.append(
                f"New    {shown(name)}: no recall, since all its images are of one group. Add another one of it"
            )
        else:
            lines.append(f"New    {shown(name)}: recall {recall:.3f} (0 before), by neighbours of other groups")
    return lines
