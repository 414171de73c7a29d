"""The last layer, which is computed here, against torch; and a drawn person before a wall."""

from __future__ import annotations

import numpy as np
import torch
from faces_there import needs_selfies, portrait

from ssl_mask.data.prepare import weights
from ssl_mask.data.prepare.selfie import PersonFinder, last_layer


def test_the_last_layer_is_torchs_transposed_convolution() -> None:
    rng = np.random.default_rng(0)
    features, kernel = (rng.normal(size=shape).astype(np.float32) for shape in ((5, 7, 16), (2, 2, 16)))
    features[0, 0] *= 1000  # as far as exp goes
    expected = torch.sigmoid(
        torch.nn.functional.conv_transpose2d(
            torch.from_numpy(features).permute(2, 0, 1)[None].double(),
            torch.from_numpy(kernel).permute(2, 0, 1)[:, None].double(),
            torch.tensor([0.25], dtype=torch.float64),
            stride=2,
        )
    )[0, 0].numpy()
    found = last_layer(features, kernel, 0.25)
    assert found.shape == (10, 14) and np.allclose(found, expected, atol=1e-5)


@needs_selfies
def test_a_person_is_told_from_the_wall() -> None:
    person = PersonFinder(weights.packaged(weights.SELFIES, "", ""))(portrait())
    assert person.shape == (160, 160) and 0 <= person.min() <= person.max() <= 1
    assert person[50:110, 55:105].mean() > 0.9  # the face
    assert person[:60, :25].mean() < 0.1 and person[:60, -25:].mean() < 0.1  # the wall on both sides
