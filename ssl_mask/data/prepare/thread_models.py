"""The models of `sslmask prepare`: their contents, which are read once, and an interpreter for each thread."""

from __future__ import annotations

import hashlib
import threading

from ssl_mask.data.prepare import weights
from ssl_mask.data.prepare.blazeface import FaceDetector
from ssl_mask.data.prepare.one_photo import Models, PrepareSettings
from ssl_mask.data.prepare.selfie import PersonFinder


class ThreadModels:
    """The models' contents, which are read once, and a detector for each thread."""

    def __init__(self, settings: PrepareSettings) -> None:
        self._faces = weights.packaged(weights.FACES, "The face detector (BlazeFace)", weights.GET_FACES)
        self._persons = None
        if settings.background != "keep":
            what = "The model that finds the background (MediaPipe selfie segmentation)"
            self._persons = weights.packaged(weights.SELFIES, what, weights.GET_SELFIES)
        self._local = threading.local()
        self.here()  # what is wrong with LiteRT is said before anything is written

    @property
    def digests(self) -> dict[str, str]:
        contents = {"faces": self._faces, "persons": self._persons}
        return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items() if content}

    def here(self) -> Models:
        """Of the calling thread."""
        if not hasattr(self._local, "models"):
            persons = PersonFinder(self._persons) if self._persons else None
            self._local.models = Models(FaceDetector(self._faces), persons)
        models: Models = self._local.models
        return models
