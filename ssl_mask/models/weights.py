"""Weights that exist already onto a network: from a file or another run, of another image size, with adapters."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from torch import Tensor, nn

from ssl_mask.errors import ModelError
from ssl_mask.models.lora import merged
from ssl_mask.models.tensors import load_tensors
from ssl_mask.reading import reading, regular

STATE_SUFFIXES = {".pth", ".pt", ".bin"}


def set_image_size(net: nn.Module, size: int) -> None:
    """Make a timm network take images of `size` x `size` pixels: position embeddings and attention windows are
    resampled. Convolutional networks take any size and are left alone.

    Raises:
        ModelError: the size is not a multiple of the network's patches.
    """
    resample = getattr(net, "set_input_size", None)
    if resample is None:
        return
    patch = int(getattr(getattr(net, "patch_embed", None), "patch_size", (1,))[0])
    if size % patch:
        below = size // patch * patch
        fitting = f"{below} or {below + patch}" if below else str(patch)
        raise ModelError(
            f"model.image_size: {size} is not a multiple of the backbone's patch size {patch}.", hint=f"Use {fitting}."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of torch, about how timm resamples windows
        resample(img_size=(size, size))


def load_file_into(net: nn.Module, file: str, image_size: int) -> None:
    """Load a weight file. A classifier in it is ignored, everything else must fit. It cannot run code.

    The file may be of the network at its own image size, of a run at `image_size`, or of another size or origin that
    timm itself knows how to convert.

    Args:
        image_size: of the network afterwards.

    Raises:
        ModelError: missing file, unknown kind, or tensors that are missing or of another shape.
    """
    given = read_state(Path(file))
    state = merged({k.removeprefix("module.").removeprefix("backbone."): v for k, v in given.items()})
    if misfits(state, net):
        set_image_size(net, image_size)
        if misfits(state, net):
            state = converted(state, net)
    own = net.state_dict()
    if lacking := misfits(state, net):
        raise ModelError(
            f"{file} does not fit the backbone: {len(lacking)} of {len(own)} tensors are missing or of another shape, "
            f"such as {lacking[0]}.",
            hint="Use the backbone that the file belongs to: --set model.backbone=NAME.",
        )
    odd = [k for k in own if state[k].is_floating_point() and not state[k].isfinite().all()]
    if odd:
        raise ModelError(f"{file} is damaged: {odd[0]} holds numbers that are not finite.", hint="Use another file.")
    net.load_state_dict({k: state[k] for k in own})
    set_image_size(net, image_size)


def misfits(state: Mapping[str, Tensor], net: nn.Module) -> list[str]:
    """The names of a network's tensors that are missing in `state` or of another shape there."""
    return [k for k, v in net.state_dict().items() if k not in state or state[k].shape != v.shape]


def converted(state: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """What timm makes of a foreign state: other names, and position embeddings of another image size resampled.

    Each family of timm has a function for it. It is written for files that are known, so it may fail on others.
    """
    convert = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        with suppress(Exception):
            return dict(convert(state, net))
    return state


def read_state(path: Path) -> dict[str, Tensor]:
    """Name -> tensor of a .safetensors or .pth file. It cannot run code: .pth is read with `weights_only`.

    Raises:
        ModelError: no such file, another kind of file, or a damaged one; the message names it.
    """
    hint = "Set model.weights to auto, none, or a .safetensors or .pth file of tensors."
    if path.suffix not in {".safetensors", *STATE_SUFFIXES}:
        raise ModelError(f"{path} is not a .safetensors or .pth file.", hint=hint)
    with reading(path, ModelError, hint=hint):
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(regular(path)))
        content = load_tensors(path)
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no named tensors.", hint=hint)
    inner = next((content[k] for k in ("state_dict", "model") if isinstance(content.get(k), dict)), content)
    return {str(k): v for k, v in inner.items() if isinstance(v, Tensor)}
