"""Predictors as one network: squares of pixels in, calibrated probabilities out, in 32 bits, as an ONNX graph.

It computes what `RunPredictor`, `MeanPredictor` and `ProductPredictor` compute with NumPy between their networks.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ssl_mask.config import DataConfig
from ssl_mask.errors import InputError, ModelError
from ssl_mask.inference.load import networks_of
from ssl_mask.inference.mean_predictor import MeanPredictor
from ssl_mask.inference.predictor import Predictor
from ssl_mask.inference.product_predictor import ProductPredictor
from ssl_mask.inference.run_predictor import RunPredictor
from ssl_mask.models.joint import predicted_probs
from ssl_mask.runs.exported import JOINT

OPSET = 18
"""Of the operators of ONNX; that of `onnx_resize.py` too."""
LARGEST_GRAPH = 2**31 - 1
"""Bytes of a protobuf message."""


class SquareShape(NamedTuple):
    """How photos become the squares that a network takes."""

    size: int
    resize: str


class RunProbs(nn.Module):
    """The network of a run, calibrated; with mirrored views the mean of both."""

    def __init__(self, predictor: RunPredictor, square: int, *, tta: bool) -> None:
        super().__init__()
        self.model, self.square, self.tta = predictor.model, square, tta
        self.temperatures = dict(predictor.source.metadata.temperatures)

    def forward(self, squares: Sequence[Tensor]) -> Tensor:
        """(n, size, size, 3) uint8 of each shape of squares -> (n, joint classes)."""
        images = squares[self.square]
        if not self.tta:
            return predicted_probs(self.model(images), self.temperatures)
        both = predicted_probs(self.model(torch.cat([images, images.flip(2)])), self.temperatures)
        return both.reshape(2, -1, both.shape[1]).mean(dim=0)


class MeanProbs(nn.Module):
    """The weighted mean of several."""

    def __init__(self, parts: Sequence[nn.Module], shares: Sequence[float]) -> None:
        super().__init__()
        self.parts, self.shares = nn.ModuleList(parts), [*map(float, shares)]

    def forward(self, squares: Sequence[Tensor]) -> Tensor:
        first: Tensor
        first, *rest = (part(squares) * share for part, share in zip(self.parts, self.shares, strict=True))
        return sum(rest, first)


class ProductProbs(nn.Module):
    """The product of factor models, times a number per joint class where there is one, with the sum 1 again."""

    ratio: Tensor

    def __init__(self, parts: Sequence[nn.Module], ratio: Sequence[float] | None) -> None:
        super().__init__()
        self.parts, self.corrects = nn.ModuleList(parts), ratio is not None
        self.register_buffer("ratio", torch.tensor([1.0] if ratio is None else [*map(float, ratio)]))

    def forward(self, squares: Sequence[Tensor]) -> Tensor:
        joint: Tensor
        joint, *rest = (part(squares) for part in self.parts)
        for part in rest:
            joint = (joint[:, :, None] * part[:, None, :]).flatten(1)
        if not self.corrects:
            return joint
        raised = joint * self.ratio
        return raised / raised.sum(dim=1, keepdim=True)


class Together(nn.Module):
    """Squares of each shape in, the joint probabilities and those of each factor out."""

    def __init__(self, joint: nn.Module, sizes: Sequence[int]) -> None:
        super().__init__()
        self.joint, self.sizes = joint, tuple(sizes)

    def forward(self, *squares: Tensor) -> tuple[Tensor, ...]:
        """(n, size, size, 3) uint8 of each shape -> (n, joint classes), then (n, classes) of each factor."""
        probs = self.joint(squares)
        shaped, axes = probs.reshape(-1, *self.sizes), range(1, len(self.sizes) + 1)
        others = [[a for a in axes if a != axis] for axis in axes]
        return probs, *(shaped.sum(dim=dims) if dims else shaped * 1.0 for dims in others)


def square_shapes(predictor: Predictor) -> tuple[SquareShape, ...]:
    """How the networks of a predictor take photos, each way once."""
    return tuple(dict.fromkeys(SquareShape(n.size, n.reading.resize) for n in networks_of(predictor)))


def reading_of(predictor: Predictor) -> DataConfig:
    """How all networks of a predictor read images, but for the squares that they make of them.

    Raises:
        InputError: they keep other bits of 16-bit images, which is done before the graph.
    """
    networks = networks_of(predictor)
    depths = {network.reading.depth for network in networks}
    if len(depths) > 1:
        raise InputError(
            f"The runs read 16-bit images with data.depth {' and '.join(map(str, sorted(depths)))}.",
            hint="Export them one by one.",
        )
    return networks[0].source.reading.model_copy(update={"depth": depths.pop()})


def together(predictor: Predictor, shapes: Sequence[SquareShape], *, tta: bool = False) -> Together:
    """A predictor as one network, for squares of these shapes."""

    def of(one: Predictor) -> nn.Module:
        if isinstance(one, RunPredictor):
            return RunProbs(one, list(shapes).index(SquareShape(one.size, one.reading.resize)), tta=tta)
        if isinstance(one, MeanPredictor):
            return MeanProbs([of(part) for part in one.predictors], one.shares.tolist())
        if isinstance(one, ProductPredictor):
            ratio = None if one.ratio is None else one.ratio.tolist()
            return ProductProbs([of(one.parts[name]) for name in one.schema.sizes], ratio)
        raise TypeError(type(one).__name__)

    return Together(of(predictor), [*predictor.schema.sizes.values()]).eval()


def network_graph(network: Together, shapes: Sequence[SquareShape], factors: Sequence[str]) -> Any:
    """The network as an onnx.ModelProto with the inputs `square0`, `square1`, … for any number of images.

    Raises:
        ModelError: torch cannot export one of its layers, or it is too large.
    """
    squares = tuple(torch.randint(0, 256, (2, s.size, s.size, 3), dtype=torch.uint8) for s in shapes)
    count = torch.export.Dim("n", min=1)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), torch.inference_mode(mode=False), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, about its own parts
        try:
            program = torch.onnx.export(
                network.cpu(), squares, dynamo=True, opset_version=OPSET, verbose=False, optimize=True,
                input_names=[f"square{i}" for i in range(len(shapes))],
                output_names=[JOINT, *(f"{JOINT}/{name}" for name in factors)],
                dynamic_shapes={"squares": tuple({0: count} for _ in shapes)},
            )  # fmt: skip
        except Exception as error:  # the exporter raises many kinds
            problem = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ModelError(
                f"torch cannot export this network to ONNX: {problem}", hint="Choose a backbone of plain layers."
            ) from error
    assert program is not None
    graph = program.model_proto
    if graph.ByteSize() > LARGEST_GRAPH:
        raise ModelError("The networks have more than 2 GB together.", hint="Export the runs of the study one by one.")
    return graph


@contextmanager
def all_digits() -> Iterator[None]:
    """While this is entered, convolutions on a GPU keep all digits of 32 bits, which they do not by default (TF32)."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


class Cost(NamedTuple):
    """What a network costs, whatever computes it."""

    parameters: int
    macs: int
    """Multiplications of a photo, each with its addition."""


def cost_of(network: Together, shapes: Sequence[SquareShape]) -> Cost:
    """Counted by torch in one pass over a photo: convolutions, matrix products and attention."""
    from torch.utils.flop_counter import FlopCounterMode

    device = next(network.parameters()).device
    squares = [torch.zeros(1, s.size, s.size, 3, dtype=torch.uint8, device=device) for s in shapes]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*squares)
    return Cost(sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2)
