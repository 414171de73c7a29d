"""The card of a run, a study or an exported network for the Hugging Face Hub: what others read before they use it.

`python -m ssl_mask.reports.model_card` shows the card of a made-up run. It names no place of the machine that it was
made on, and shows no photo.
"""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath
from typing import Any

from ssl_mask.data.schema import LabelSchema
from ssl_mask.guard.status import Mark
from ssl_mask.reports.hub_card import front_matter
from ssl_mask.reports.model_scores import ModelFacts, Scored, told
from ssl_mask.reports.run_card import LEAKAGE
from ssl_mask.runs.no_places import without_places
from ssl_mask.runs.records import DeclarationRecord
from ssl_mask.text import code, md, md_table, shown

MOST_CLASSES = 100
"""Joint classes that a card lists by name; those of each factor are always listed."""
TASK = "image-classification"


def model_card(facts: ModelFacts, license_id: str | None = None, repository: str = "OWNER/NAME") -> str:
    """Markdown with front matter.

    Args:
        license_id: an identifier of the Hub; None: the card names no license.
        repository: where the files will be, for the commands.
    """
    parts = [
        f"# {md(facts.name)}",
        _summary(facts),
        leakage_line(facts.mark),
        *_declared(facts.declared),
        "## Scores",
        *_scores(facts),
        "## Classes",
        *_classes(facts.schema),
        "## Made of",
        md_table(("what", "value"), _made_of(facts)),
        "## Use it",
        _use(facts, repository),
        "## What nobody has measured",
        "How it does on images of another source: other cameras, other places, other people. Scores above are of "
        "images of the data set that it was trained on, unless a row says otherwise.",
    ]
    return front_matter(_metadata(facts, license_id)) + "\n" + "\n\n".join(parts) + "\n"


def leakage_line(mark: Mark) -> str:
    """The sentence without which a model whose scores are not those of new images is not handed on."""
    reason = f" ({md(without_places(mark.reason))})" if mark.reason else ""
    meaning = LEAKAGE[mark.status].replace("this run", "this model").replace("This run", "This model")
    return f"**Leakage: {mark.status}**{reason}. {meaning}"


def _metadata(facts: ModelFacts, license_id: str | None) -> dict[str, Any]:
    """As modelcard.md of huggingface/hub-docs says."""
    exported = any(PurePath(name).suffix == ".onnx" for name in facts.files)
    results = [_result(facts, scored) for scored in facts.scores]
    return {
        "license": license_id,
        "library_name": "sslmask",
        "pipeline_tag": TASK,
        "tags": ["sslmask", TASK, *(["onnx"] if exported else []), f"leakage:{facts.mark.status}"],
        "metrics": ["f1", "accuracy"],
        "model-index": [{"name": shown(facts.name), "results": results}] if results else None,
    }


def _result(facts: ModelFacts, scored: Scored) -> dict[str, Any]:
    f1, accuracy, about = scored.macro_f1, scored.accuracy, f"leakage: {scored.mark.status}"
    metrics = [{
        "type": "f1", "value": round(f1.value, 4), "args": {"average": "macro"},
        "name": f"Macro-F1 ({scored.split}{_interval_told(f1, scored)}; {about})",
    }]  # fmt: skip
    if accuracy is not None:
        name = f"Accuracy ({scored.split}{_interval_told(accuracy, scored)}; {about})"
        metrics.append({"type": "accuracy", "value": round(accuracy.value, 4), "name": name})
    name = _data_name(facts)
    return {
        "task": {"type": TASK, "name": "Image Classification"},
        "dataset": {"type": "imagefolder", "name": name, "split": scored.split},
        "metrics": metrics,
    }


def _interval_told(score: Any, scored: Scored) -> str:
    if score.low == score.high:
        return ""
    return f", 95 % interval {score.low:.3f} to {score.high:.3f} by {'group' if scored.grouped else 'image'}"


def _data_name(facts: ModelFacts) -> str:
    """Of the data set: the name of its folder."""
    return shown(PurePath(facts.data.root).name if facts.data is not None else "") or "a data set of its own"


def _summary(facts: ModelFacts) -> str:
    factors = ", ".join(md(f.name) for f in facts.schema.factors)
    what = f"Classifies images by {factors}"
    if len(facts.schema.factors) > 1:
        what += f": {len(facts.schema.joint_classes)} joint classes"
    if not facts.scores:
        return f"{what}. **No score**: no image is known that it was not trained on."
    first = facts.scores[0]
    return f"{what}. **Macro-F1 {told(first.macro_f1)}, {first.split}.** {md(first.caveat)}"


def _declared(declared: DeclarationRecord | None) -> list[str]:
    if declared is None:
        return []
    return [f"Declared: {md(without_places(declared.reason))} Allowed by: {md(without_places(declared.allowed_by))}"]


def _scores(facts: ModelFacts) -> list[str]:
    if not facts.scores:
        return ["None."]
    rows = [
        (md(s.split), "" if s.images is None else str(s.images), told(s.macro_f1),
         "" if s.accuracy is None else told(s.accuracy), f"{s.mark.status}. {md(s.caveat)}")
        for s in facts.scores
    ]  # fmt: skip
    notes = ["Intervals are bootstrap intervals: groups (persons) are drawn with replacement."]
    if not all(s.grouped for s in facts.scores):
        notes = ["**Intervals are too narrow**: not all images name their groups (persons), so each counts by itself."]
    if facts.bits8:
        notes.append(md(facts.bits8))
    return [md_table(("images of", "number", "macro-F1", "accuracy", "what it is worth"), rows), *notes]


def _classes(schema: LabelSchema) -> list[str]:
    table = md_table(
        ("factor", "classes, by their number from 0"),
        [(md(f.name), ", ".join(code(name) for name in f.classes)) for f in schema.factors],
    )
    joint = schema.joint_classes
    if len(schema.factors) == 1:
        return [table]
    if len(joint) > MOST_CLASSES:
        return [table, f"{len(joint)} joint classes; the last factor counts fastest."]
    return [table, "Joint classes, from 0: " + ", ".join(code(name) for name in joint) + "."]


def _made_of(facts: ModelFacts) -> list[tuple[str, str]]:
    networks = [f"{count} × {md(name)}" if count > 1 else md(name) for name, count in Counter(facts.networks).items()]
    rows = [("networks", "; ".join(networks))]
    if (data := facts.data) is not None:
        groups = f" of {data.train_groups} groups" if data.grouped else ""
        rows += [("data set", md(_data_name(facts))), ("training images", f"{data.train_images}{groups}")]
        if data.val_images:
            rows.append(("validation images", f"{data.val_images}" + (f" of {data.val_groups} groups" * data.grouped)))
        if data.unlabeled is not None:
            sources = ", ".join(PurePath(s).name for s in data.unlabeled.sources)
            rows.append(("unlabeled images", f"{data.unlabeled.images} from {md(sources)}"))
        if data.pseudo is not None:
            rows.append(("pseudo-labeled images", str(data.pseudo.images)))
        rows.append(("content digest of the data", code(data.content_hash)))
    if facts.builds_on:
        rows.append(("builds on", ", ".join(code(PurePath(name).name) for name in facts.builds_on)))
    return [*rows, ("made with", md(f"sslmask {facts.code}"))]


def _use(facts: ModelFacts, repository: str) -> str:
    name = repository.rpartition("/")[2].lower()
    exported = next((file for file in facts.files if file.endswith(".onnx")), "")
    run, install = (f"{name}/{exported}", '"sslmask[export]"') if exported else (name, "sslmask")
    seen = (
        "What it has seen in training is beside it as digests (`seen-*.npz`), from which no picture can be made: "
        "`predict` says which of your photos are among them, or may be."
        if facts.knows_seen
        else "Nobody recorded what it has seen in training, so `predict` cannot say whether your photos are among it."
    )
    return (
        f"```bash\npip install {install}\nhf download {repository} --local-dir {name}\n"
        f"sslmask predict --run {run} --images photos\n```\n\n"
        f"It predicts calibrated probabilities. {seen}"
    )


if __name__ == "__main__":
    from ssl_mask.reports import samples

    print(model_card(samples.model_facts()))
