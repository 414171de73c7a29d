"""Who is in the demo: persons, file names, tables and planted faults, from a seed. Draws nothing.

Everything that is planted goes into `Plan.truth`, so that a guard or a label check can be scored against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from ssl_mask.demo_data.avatar import INCORRECT, NOT_WORN, WORN
from ssl_mask.demo_data.photo import ALTERATIONS

VERSION: Final = 1  # raise it when the same seed draws other files
SHOTS: Final = {"mask1": WORN, "mask2": WORN, "mask3": WORN, "mask4": WORN, "mask5": WORN} | {
    "incorrect_mask": INCORRECT,
    "normal": NOT_WORN,
}
GENDERS: Final = ("male", "female")
BANDS: Final = ((18, 30), (30, 60), (60, 80))  # drawn ages, half open
TRAIN, EVAL, EXTRA = 0, 1, 2


@dataclass(frozen=True)
class Person:
    role: int
    number: int
    gender: str
    age: int

    @property
    def cell(self) -> tuple[str, int]:
        return self.gender, age_band(self.age)


@dataclass(frozen=True)
class Photo:
    """One file to draw: which shot of whom, and how it is altered when it is a planted copy."""

    file: str
    person: Person
    shot: int
    alteration: str = ""

    @property
    def answer(self) -> int:
        state = list(SHOTS.values())[self.shot]
        return state * 6 + GENDERS.index(self.person.gender) * 3 + age_band(self.person.age)


@dataclass
class Plan:
    """All files and tables of one demo, before anything is drawn."""

    photos: list[Photo] = field(default_factory=list)
    train_rows: list[dict[str, str]] = field(default_factory=list)
    eval_answers: dict[str, int] = field(default_factory=dict)
    truth: dict[str, Any] = field(default_factory=dict)


def age_band(age: int) -> int:
    return 0 if age < 30 else 1 if age < 60 else 2


def make_plan(persons: int, seed: int) -> Plan:
    """Who is drawn, under which names, with which faults. Draws nothing."""
    rng, plan = seeded(seed), Plan()
    shots = range(len(SHOTS))
    train = _cast(rng, TRAIN, persons, first=1, least=2)
    evals = _cast(rng, EVAL, max(6, persons // 3), first=1 + persons, least=1)
    others = _cast(rng, EXTRA, max(6, round(persons * 4 / 7)), first=1 + persons + len(evals), least=1)
    errors = _plan_train(plan, train, rng)
    names = _names(rng)
    test_photos = [Photo(f"eval/images/{next(names)}", who, shot) for who in evals for shot in shots]
    pool = [Photo(f"extra/{next(names)}", who, shot) for who in others for shot in shots]
    count = max(3, round(0.06 * len(pool)))
    leaked = []
    for i, k in enumerate(rng.choice(len(test_photos), count, replace=False)):
        copy = replace(test_photos[k], file=f"extra/{next(names)}", alteration=ALTERATIONS[i % len(ALTERATIONS)])
        leaked.append({"extra": _name(copy), "eval": _name(test_photos[k]), "alteration": copy.alteration})
        pool.append(copy)
    plan.eval_answers = {_name(test_photos[k]): test_photos[k].answer for k in rng.permutation(len(test_photos))}
    images = {"train": len(plan.photos), "eval": len(test_photos), "extra": len(pool)}
    plan.truth |= {"version": VERSION, "seed": seed, "persons": persons, "images": images, "label_errors": errors}
    plan.truth["leaked_extra"] = leaked
    plan.truth["extra_answers"] = {_name(photo): photo.answer for photo in pool}
    plan.truth["eval_persons"] = {_name(photo): photo.person.number for photo in test_photos}
    plan.truth["extra_persons"] = {_name(photo): photo.person.number for photo in pool}
    plan.photos += test_photos + pool
    return plan


def seeded(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, *key]))


def _names(rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield f"{rng.bytes(20).hex()}.jpg"


def _name(photo: Photo) -> str:
    return photo.file.rpartition("/")[2]


def _cast(rng: np.random.Generator, role: int, count: int, *, first: int, least: int) -> list[Person]:
    """`count` persons in random order, about 12 % of them old, at least `least` in each gender and age band."""
    old = max(2 * least, round(0.12 * count))
    young = (count - old + 1) // 2
    bands = np.repeat([0, 1, 2], [young, count - old - young, old])
    genders = np.concatenate([np.arange(np.sum(bands == band)) % 2 for band in range(3)])
    order = rng.permutation(count)
    return [
        Person(role, first + i, GENDERS[genders[k]], int(rng.integers(*BANDS[bands[k]]))) for i, k in enumerate(order)
    ]


def _plan_train(plan: Plan, train: Sequence[Person], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Adds the training persons' files and rows; returns the planted label errors."""
    faults, errors = _faults(train, rng), []
    plan.truth["train_answers"] = {}
    for person in train:
        said, fault = person, faults.get(person.number, "")
        if fault == "gender":
            said = replace(person, gender=GENDERS[1 - GENDERS.index(person.gender)])
        elif fault == "age":
            wrong = (age_band(person.age) + int(rng.integers(1, 3))) % 3
            said = replace(person, age=int(rng.integers(*BANDS[wrong])))
        number = f"{person.number:06d}"
        path = f"{number}_{said.gender}_Drawn_{said.age}"
        plan.train_rows.append(
            {"id": number, "gender": said.gender, "race": "Drawn", "age": str(said.age), "path": path}
        )
        shots = dict(zip(SHOTS, range(len(SHOTS)), strict=True))
        if fault == "swap":
            shots["incorrect_mask"], shots["normal"] = shots["normal"], shots["incorrect_mask"]
        for stem, shot in shots.items():
            photo = Photo(f"train/images/{path}/{stem}.jpg", person, shot)
            plan.photos.append(photo)
            plan.truth["train_answers"][f"{path}/{stem}.jpg"] = photo.answer
        if fault:
            swapped = {"incorrect_mask.jpg": "normal", "normal.jpg": "incorrect_mask"}
            true = swapped if fault == "swap" else {fault: getattr(person, fault)}
            errors.append({"id": number, "path": path, "fields": ["mask" if fault == "swap" else fault], "true": true})
    return errors


def _faults(train: Sequence[Person], rng: np.random.Generator) -> dict[int, str]:
    """Which persons get which fault; two rightly labelled persons stay in each gender and age band."""
    kinds, start = ("gender", "age", "swap"), int(rng.integers(3))
    right, faults = Counter(person.cell for person in train), dict[int, str]()
    for i in range(max(round(0.04 * len(train)), 3 if len(train) >= 30 else 0)):
        free = [p for p in train if p.number not in faults and right[p.cell] > 2]
        person = free[int(rng.integers(len(free)))]
        faults[person.number] = kinds[(start + i) % 3]
        right[person.cell] -= 1
    return faults
