"""Ray executes the trials: on a cluster, or on a local Ray that is started and stopped here.

Ray only gives out numbers of trials. What a trial is, and how it has ended, is in the journal, so Ray's own records
are thrown away. A worker holds the lock of its trial, and a killed worker leaves it to the next one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssl_mask import cluster
from ssl_mask.errors import InputError
from ssl_mask.tuning.engines import Work
from ssl_mask.tuning.journal import Next

QUIET = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0", "TUNE_DISABLE_SIGINT_HANDLER": "1", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "600", "RAY_AIR_NEW_OUTPUT": "0",
}  # fmt: skip


def ray() -> Any:
    """The library with Ray Tune, quiet.

    Raises:
        InputError: it is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    library = cluster.ray()
    try:
        from ray import tune  # noqa: F401 - Ray can be there without it
    except ImportError as error:
        raise InputError("--engine ray needs Ray Tune.", hint='Install it: pip install "sslmask[ray]"') from error
    return library


def run_on_ray(
    next_trial: Callable[..., Next],
    work: Work,
    after: Callable[[], None],
    *,
    lost: Callable[[int], None],
    parallel: int = 1,
) -> None:
    """Let Ray work on the trials, until all have ended.

    Args:
        next_trial: as of a journal; told the numbers that are given out.
        work: sent to Ray's workers; it finds everything else on the disk.
        after: called when a trial has ended.
        lost: called with a trial whose worker has died: the system or Ray has killed it for the memory it took.
        parallel: trials at the same time. With one, the trials are those of `run_here`.

    Raises:
        InputError: no Ray, or a trial raised what stops the search.
    """
    library = ray()
    from ray import tune

    asking = _searcher(next_trial, after, lost, parallel)
    with cluster.connected(library), tempfile.TemporaryDirectory(prefix="sslmask-ray-") as folder:
        here = {"work": work, "folder": str(Path.cwd())}
        share = {"cpu": 1.0, "gpu": 1.0 if library.cluster_resources().get("GPU") else 0.0}
        tune.Tuner(
            tune.with_resources(tune.with_parameters(_work_there, **here), share),
            tune_config=tune.TuneConfig(search_alg=asking, num_samples=-1),
            run_config=tune.RunConfig(name="search", storage_path=folder, verbose=0),
        ).fit()
    if asking.stopped:
        problem, _, hint = asking.stopped.partition("\n")
        raise InputError(problem, hint=hint)


def _searcher(
    next_trial: Callable[..., Next], after: Callable[[], None], lost: Callable[[int], None], parallel: int
) -> Any:
    """What Ray Tune asks for the next trial."""
    from ray.tune.search import Searcher

    class Asking(Searcher):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.given: dict[str, int] = {}
            self.stopped = ""

        def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
            number: Next = "done" if self.stopped else "wait"
            if not self.stopped and len(self.given) < parallel:
                number = next_trial(tuple(self.given.values()))
            if isinstance(number, str):
                return None if number == "wait" or self.given else str(Searcher.FINISHED)
            self.given[trial_id] = number
            return {"number": number}

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            number = self.given.pop(trial_id, None)
            if error and number is not None:
                lost(number)
            self.stopped = self.stopped or str((result or {}).get("stops", ""))
            after()

        def save(self, checkpoint_path: str) -> None: ...

        def restore(self, checkpoint_path: str) -> None: ...

        def __reduce__(self) -> tuple[Any, ...]:
            return Searcher, ()  # Ray writes it down, to go on from; we go on from the journal

        def __deepcopy__(self, memo: Any) -> Asking:
            return self

    return Asking()


def _work_there(config: dict[str, Any], *, work: Work, folder: str) -> None:
    """A trial, in a process of Ray's. What would stop a search is reported: an error means that the process died."""
    from ray import tune

    if Path(folder).is_dir():  # paths of the configuration are relative to it
        os.chdir(folder)
    try:
        work(config["number"])
    except Exception as error:
        tune.report({"stops": str(error) or type(error).__name__})
    else:
        tune.report({"stops": ""})
