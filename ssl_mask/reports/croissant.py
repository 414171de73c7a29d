"""A data set as Croissant JSON-LD (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html).

The images are rows of the table beside it: path, digest, split, group, class names. The photos themselves are in the
data set, at these paths; the description holds none.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from ssl_mask.reports.described import TABLE, Described
from ssl_mask.text import shown

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty", "samplingRate": "cr:samplingRate",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field",
    "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet", "format": "cr:format",
    "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key",
    "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField",
    "transform": "cr:transform",
}  # fmt: skip
"""The context that the specification gives."""


def croissant(data: Described, license_id: str | None = None) -> dict[str, Any]:
    """The content of `croissant.json`, beside the table of `Described.table`.

    Args:
        license_id: an identifier of the Hub; None: none is named, which mlcroissant warns of.
    """
    content = data.table().encode()
    description: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": _identifier(data.name),
        "alternateName": shown(data.name),
        "description": f"{len(data.images)} images for image classification; content digest {data.digest}.",
        "version": "1.0.0",
        "license": license_id,
        "distribution": [
            {
                "@type": "cr:FileObject", "@id": TABLE, "name": TABLE, "contentUrl": TABLE,
                "encodingFormat": "text/csv", "contentSize": f"{len(content)} B",
                "sha256": hashlib.sha256(content).hexdigest(),
                "description": "A row an image: path below the data set, SHA-256, split, group, class names.",
            }
        ],
        "recordSet": [_splits(data), *_classes(data), _images(data)],
    }  # fmt: skip
    return {key: value for key, value in description.items() if value is not None}


def _images(data: Described) -> dict[str, Any]:
    columns = {"path": "Of the image file.", "sha256": "Of its bytes.", "split": "", "group": "Such as a person."}
    fields = [_field(name, name, told) for name, told in columns.items()]
    fields[2]["references"] = {"field": {"@id": "splits/name"}}
    for number, (factor, column) in enumerate(data.label_columns.items()):
        field = _field(f"label-{number}", column, f"Class: {shown(factor)}.")
        fields.append({**field, "references": {"field": {"@id": f"classes-{number}/name"}}})
    return {"@type": "cr:RecordSet", "@id": "images", "name": "images", "key": {"@id": "images/path"}, "field": fields}


def _field(name: str, column: str, description: str) -> dict[str, Any]:
    field: dict[str, Any] = {"@type": "cr:Field", "@id": f"images/{name}", "name": name, "description": description}
    source = {"fileObject": {"@id": TABLE}, "extract": {"column": column}}
    return {**field, "dataType": "sc:Text", "source": source}


def _splits(data: Described) -> dict[str, Any]:
    return _enumeration("splits", "cr:Split", "The splits of the data set.", data.splits)


def _classes(data: Described) -> list[dict[str, Any]]:
    factors = data.schema.factors if data.schema is not None else ()
    return [
        _enumeration(f"classes-{number}", "sc:Enumeration", f"The classes of {shown(factor.name)}.", factor.classes)
        for number, factor in enumerate(factors)
    ]


def _enumeration(name: str, kind: str, description: str, values: tuple[str, ...]) -> dict[str, Any]:
    field = {"@type": "cr:Field", "@id": f"{name}/name", "name": "name", "dataType": "sc:Text"}
    return {
        "@type": "cr:RecordSet", "@id": name, "name": name, "dataType": kind, "description": description,
        "key": {"@id": f"{name}/name"}, "field": [field], "data": [{f"{name}/name": value} for value in values],
    }  # fmt: skip


def _identifier(name: str) -> str:
    """Croissant's names are letters, digits, `_`, `-` and `.`, and at most 255 of them."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-")[:255] or "dataset"
