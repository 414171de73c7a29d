"""Each tracker is run offline, and what it wrote is read back with its own library. One that is not installed skips."""

from __future__ import annotations

import json
import os
import struct
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ssl_mask.config import RunConfig
from ssl_mask.runs.run import RunDir
from ssl_mask.training.trackers.place import Place
from ssl_mask.training.trackers.tracking import values_of
from ssl_mask.workflows.train import train

pytestmark = pytest.mark.plots  # they are given to the trackers


class Read(NamedTuple):
    """What a tracker knows of a run."""

    values: dict[str, dict[int, float]]
    """Name -> step -> value."""
    settings: dict[str, str]
    card: str
    plots: set[str]
    runs: int
    """How many runs it takes them for."""


def from_tensorboard(run: RunDir) -> Read:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def read(folder: Path) -> Any:
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0, "images": 0})
        events.Reload()
        return events

    folder = run.trackers / "tensorboard"
    events, settings = read(folder), dict[str, str]()
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        data = read(inner).summary_metadata if any(inner.glob("events*")) else {}
        if "_hparams_/session_start_info" in data:
            from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

            content = data["_hparams_/session_start_info"].plugin_data.content
            hparams = HParamsPluginData.FromString(content).session_start_info.hparams
            settings = {k: str(getattr(v, v.WhichOneof("kind"))) for k, v in hparams.items()}
    tags = events.Tags()
    values = {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in tags["scalars"]}
    card = events.Tensors("run_card/text_summary")[-1].tensor_proto.string_val[0].decode()
    plots = {tag.split("/")[1] for tag in tags["images"]}
    assert all(events.Images(tag)[-1].width > 200 for tag in tags["images"])
    return Read(values, settings, card, plots, 1)


def records_of(file: Path) -> Iterator[bytes]:
    """The records in a .wandb file: LevelDB's log format behind 7 bytes. wandb has no reader for Python any more."""
    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:  # no header fits into the rest of a block
            at += left
            continue
        size, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in {1, 4}:  # whole, or its last part
            yield whole
            whole = b""


def from_wandb(run: RunDir) -> Read:
    from wandb.proto.wandb_internal_pb2 import Record

    values: dict[str, dict[int, float]] = {}
    settings: dict[str, str] = {}
    ids, card, plots = set(), "", set()
    for file in sorted((run.trackers / "wandb").glob("offline-run-*/*.wandb")):
        for record in map(Record.FromString, records_of(file)):
            if record.HasField("run"):
                ids.add(record.run.run_id)
            told = [record.run.config, record.config]
            settings |= {item.key: str(json.loads(item.value_json)) for config in told for item in config.update}
            items = {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}
            for name, value in items.items():
                if name == "run_card/path":
                    card = (file.parent / "files" / value).read_text()
                elif name.startswith("plots/"):
                    plots.add(name.split("/")[1])
                elif not name.startswith(("_", "run_card/")):
                    values.setdefault(name, {})[int(items["_step"])] = value
    return Read(values, settings, card, plots, len(ids))


def from_mlflow(run: RunDir) -> Read:
    from mlflow import MlflowClient

    client = MlflowClient((run.trackers / "mlflow").absolute().as_uri())
    (experiment,) = [e for e in client.search_experiments() if e.name == "sslmask"]
    found = client.search_runs([experiment.experiment_id])
    kept = found[0]
    values = {
        name: {m.step: m.value for m in client.get_metric_history(kept.info.run_id, name)} for name in kept.data.metrics
    }
    assert kept.info.status == "FINISHED" and kept.info.run_name == run.name
    place = Path(client.download_artifacts(kept.info.run_id, ""))
    card = (place / "run_card.md").read_text()
    return Read(values, kept.data.params, card, {p.stem for p in (place / "plots").iterdir()}, len(found))


def from_trackio(run: RunDir) -> Read:
    from trackio.sqlite_storage import SQLiteStorage

    name = f"{run.name}-{Place(run, 0).id}"
    values: dict[str, dict[int, float]] = {}
    card, plots = "", set()
    for line in SQLiteStorage.get_logs("sslmask", name):
        for key, value in line.items():
            if isinstance(value, dict):
                if "markdown" in str(value.get("_type")):
                    card = value["_value"]
                else:
                    plots.add(key.removeprefix("plots/"))
            elif key not in {"step", "timestamp"}:
                values.setdefault(key, {})[line["step"]] = value
    runs = [known for known in SQLiteStorage.get_runs("sslmask") if known.startswith(run.name)]
    config = SQLiteStorage.get_run_config("sslmask", name) or {}
    return Read(values, {key: str(value) for key, value in config.items()}, card, plots, len(runs))


READERS = {"tensorboard": from_tensorboard, "wandb": from_wandb, "mlflow": from_mlflow, "trackio": from_trackio}


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every tracker writes below the test's folder only, and asks no server."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_", "TRACKIO_"))]:
        monkeypatch.delenv(name)
    for name, place in (
        ("TRACKIO_DIR", "trackio"),
        ("HF_HOME", "hf"),
        ("WANDB_CACHE_DIR", "w"),
        ("WANDB_DATA_DIR", "w"),
    ):
        monkeypatch.setenv(name, str(tmp_path / place))
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the trackers' own libraries
        yield


@pytest.mark.parametrize(
    "name", ["tensorboard", *(pytest.param(name, marks=pytest.mark.slow) for name in ("wandb", "mlflow", "trackio"))]
)
def test_what_was_logged_is_read_back(
    name: str, tiny: Callable[..., RunConfig], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A run of three steps that is resumed for three more: one run for the tracker."""
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed (pip install 'sslmask[{name}]')")
    config = tiny(name="r", train={"trackers": [name], "steps": 3})
    train(config, quiet=True)
    before = set(tmp_path.iterdir())
    run = train(config, resume="r", length={"steps": 6})
    assert run is not None
    said = capsys.readouterr()
    assert "failed" not in said.out + said.err
    read, records = READERS[name](run.dir), run.dir.records()
    expected: dict[str, dict[int, float]] = {}
    for record in records:
        for key, value in values_of(record).items():
            expected.setdefault(key, {})[record["step"]] = value
    assert expected["train/loss"].keys() == {1, 2, 3, 4, 5, 6} and len(expected["val/ema/macro_f1"]) == 2
    for key, values in expected.items():
        assert read.values[key] == pytest.approx(values, rel=1e-6), key
    assert read.settings["optim.lr"] == str(config.optim.lr) and read.settings["model.backbone"] == "test_efficientnet"
    assert "Validation macro-F1" in read.card and "6 of 6 steps" in read.card
    assert read.plots == {"curves", "confusion"} and read.runs == 1
    assert set(tmp_path.iterdir()) == before


def test_what_tensorboard_was_told_after_the_saved_state_is_hidden(tmp_path: Path) -> None:
    """A run was killed at step 5, and is resumed at 3, where it was saved."""
    if find_spec("tensorboard") is None:
        pytest.skip("tensorboard is not installed (pip install 'sslmask[tensorboard]')")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from ssl_mask.training.trackers.tensorboard import open_tracker

    run = RunDir(tmp_path / "r")
    for done, steps, value in ((0, range(1, 6), 1.0), (3, range(4, 8), 2.0)):
        opened = open_tracker(Place(run, done))
        for step in steps:
            opened.tracker.log({"loss": value}, step=step)
        opened.close()
    events = EventAccumulator(str(run.trackers / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [
        (1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0), (6, 2.0), (7, 2.0)
    ]  # fmt: skip
