"""The mask-wearing competition: train/train.csv, one folder with seven photos per person, eval/info.csv.

Class = mask x 6 + gender x 3 + age band. The person's id is the group; ids are kept as written (`001498-1`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from ssl_mask.config.base import Settings
from ssl_mask.data.image_files import is_image_name
from ssl_mask.data.layouts.paths import inside
from ssl_mask.data.manifest import Manifest, Row, Submission
from ssl_mask.data.schema import Factor, LabelSchema
from ssl_mask.data.tables import header_of, read_csv
from ssl_mask.errors import DataError

OLD = 60
COLUMNS = ("id", "gender", "age", "path")
SCHEMA = LabelSchema(
    (
        Factor("mask", ("worn", "incorrect", "none")),
        Factor("gender", ("male", "female")),
        Factor("age", ("<30", "30-59", ">=60")),
    )
)
PHOTOS = {**{f"mask{i}": "worn" for i in range(1, 6)}, "incorrect_mask": "incorrect", "normal": "none"}


class Options(Settings):
    age_boundary: int = Field(default=OLD, ge=31, le=OLD)
    """Train on persons of this age or more as old (58 or 59 helps the rare class). Validation keeps the true age."""


def detect(root: Path) -> bool:
    """A train/train.csv with at least three of the columns: who has misspelt one wants to hear which."""
    try:
        return len(set(COLUMNS).intersection(header_of(root / "train" / "train.csv"))) >= 3
    except DataError:
        return False


def read(root: Path, options: Options) -> Manifest:
    """Photos of train/train.csv, then those of eval/info.csv as `test` in its order.

    Raises:
        DataError: a missing column or folder, an unknown gender or age, one id with two labels,
            a folder in two rows; the message names the row.
    """
    train = tuple(_train_rows(root, options))
    test = tuple(_test_rows(root))
    persons = len({r.group for r in train})
    return Manifest(
        root=root,
        layout="mask18",
        schema=SCHEMA,
        rows=train + test,
        grouped=True,
        submission=Submission("ImageID", ("ans",), "joint index"),
        message=f"mask18 layout: {persons} persons, {len(train)} images, {len(test)} eval images",
    )


def _train_rows(root: Path, options: Options) -> Iterator[Row]:
    table = root / "train" / "train.csv"
    seen: dict[str, tuple[int, int]] = {}
    first: dict[str, str] = {}
    for where, cells in read_csv(table, columns=COLUMNS):
        short = f"train/train.csv:{where.rsplit(':', 1)[1]}"
        gender = SCHEMA.index_of(SCHEMA.factors[1], cells["gender"].lower(), where=short)
        age = _age(cells["age"], where=short)
        person = cells["id"]
        if not person:
            raise DataError(
                f"{short}: this row has no id.",
                hint="Give every person an id: images are split into train and validation by it.",
            )
        if seen.setdefault(person, (gender, _band(age, OLD))) != (gender, _band(age, OLD)):
            raise DataError(
                f"{short}: id {person!r} is in {table.name} twice, with different labels.",
                hint="Correct the row, or give the two persons different ids (such as 001498-1 and 001498-2).",
            )
        folder = inside(root, f"train/images/{cells['path']}", where=short)
        if first.setdefault(folder, short) != short:
            raise DataError(f"{short}: {folder} is also named at {first[folder]}.", hint="Keep one of the two rows.")
        for name, mask in _photos(root / folder, where=short):
            true = (mask, gender, _band(age, OLD))
            trained = (mask, gender, _band(age, options.age_boundary))
            path = f"{folder}/{name}"
            yield Row(path, person, "train", short, true, None if trained == true else trained)


def _photos(folder: Path, *, where: str) -> list[tuple[str, int]]:
    """(file name, index of the mask class) of a person's photos, sorted; other and hidden files are skipped."""
    if not folder.is_dir():
        raise DataError(f"{where}: there is no folder {folder}.", hint="Fix the row's `path`, or remove the row.")
    names = sorted(p.name for p in folder.iterdir() if is_image_name(p.name))
    found = [(n, SCHEMA.factors[0].classes.index(PHOTOS[Path(n).stem])) for n in names if Path(n).stem in PHOTOS]
    if not found:
        raise DataError(
            f"{where}: no image found in {folder}.", hint=f"Images need names such as {', '.join(list(PHOTOS)[-3:])}."
        )
    return found


def _test_rows(root: Path) -> Iterator[Row]:
    table = root / "eval" / "info.csv"
    if not table.is_file():
        return
    for where, cells in read_csv(table, columns=("ImageID",)):
        short = f"eval/info.csv:{where.rsplit(':', 1)[1]}"
        path = inside(root, f"eval/images/{cells['ImageID']}", where=short)
        yield Row(path, "", "test", short, None, id=cells["ImageID"])


def _age(text: str, *, where: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 130:
        raise DataError(f"{where}: age {text!r} is not a whole number of years.", hint="Correct the row in train.csv.")
    return int(text)


def _band(age: int, old_from: int) -> int:
    return 2 if age >= old_from else int(age >= 30)
