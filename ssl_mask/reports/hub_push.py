"""`sslmask card make … --push OWNER/NAME`: a folder as one commit of a model repository on the Hugging Face Hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ssl_mask.console import Console
from ssl_mask.errors import InputError
from ssl_mask.runs.environment import code_version
from ssl_mask.text import shown

INSTALL = 'Install it: pip install "sslmask[hub]"'
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_TRANSPORT = {"httpx", "httpx2", "httpcore", "requests", "urllib3"}
_AGAIN = "Nothing was committed. Try again: what was uploaded already is not sent twice."


def refuse_no_hub() -> None:
    """Raises InputError where huggingface_hub is not installed."""
    if find_spec("huggingface_hub") is None:
        raise InputError("--push needs huggingface_hub.", hint=INSTALL)


def refuse_odd_repository(name: str) -> None:
    """Raises InputError for what is no `OWNER/NAME`."""
    if _REPOSITORY.fullmatch(name) is None:
        raise InputError(f"--push {name!r} is not OWNER/NAME.", hint="Such as --push my-team/masks")


def push_folder(repository: str, folder: Path, *, private: bool, console: Console) -> str:
    """Upload all files of a folder as one commit; the repository is made where it is not there.

    Args:
        repository: `OWNER/NAME`.
        private: a new repository is private; False: public.

    Returns:
        Its address.

    Raises:
        InputError: huggingface_hub is not installed, nobody is logged in, the repository is public although a private
            one is asked for, or the Hub cannot be reached or refuses.
    """
    refuse_no_hub()
    refuse_odd_repository(repository)
    from huggingface_hub import CommitOperationAdd, HfApi

    # Read now: the library keeps what the variable was when it was first imported.
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="sslmask")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    with _bars(shown=not console.rich.quiet), _told(repository):
        url = str(api.create_repo(repository, private=private, exist_ok=True))
        if private and not api.repo_info(repository).private:
            raise InputError(
                f"{url} is there and public, so what is pushed could be read by everybody.",
                hint="If that is meant: --public. Else choose another name, or make it private on the Hub.",
            )
        console.say(f"Push   {len(files)} files, {size / 1e6:.1f} MB, to {url}")
        changes = [CommitOperationAdd(path.relative_to(folder).as_posix(), str(path)) for path in files]
        api.create_commit(repository, changes, commit_message=f"Upload by sslmask {code_version()}")
    console.say(f"Pushed {url}  ({'private' if private else 'public'})")
    return url


@contextmanager
def _bars(*, shown: bool) -> Iterator[None]:
    """The library's own bars of progress: bytes of each file, with rate and remaining time."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def _told(repository: str) -> Iterator[None]:
    """What the library raises as one sentence with the next step."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        code = getattr(error.response, "status_code", None)
        why = shown(" ".join(str(error.server_message or error).split()))[:300]
        hint = _AGAIN
        if code in {401, 403}:
            hint = "Log in with a token that may write: hf auth login, or set HF_TOKEN."
        raise InputError(f"The Hub refuses to write {repository} ({code}): {why}", hint=hint) from error
    except Exception as error:
        wrapped = isinstance(error, RuntimeError) and error.__cause__ is not None  # of one file, in a thread
        cause = error.__cause__ if wrapped and error.__cause__ is not None else error
        known = isinstance(cause, OSError | ValueError) or type(cause).__module__.partition(".")[0] in _TRANSPORT
        if isinstance(error, InputError) or not known:
            raise
        why = shown(" ".join(f"{error} {cause if wrapped else ''}".split()))[:300] or type(error).__name__
        raise InputError(f"{repository} was not pushed: {why}", hint=_AGAIN) from error
