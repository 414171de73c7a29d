# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, operator, no-any-return, index"
"""Photos of any size to squares of pixels, as ONNX operators: what `data.images.fit` computes with OpenCV.

To shrink by the mean of areas and to enlarge by cubic interpolation are each two weighted sums, one over columns and
one over rows, of few old pixels for each new one; places and weights depend on the sizes alone. The functions here are
no Python: onnxscript reads their text and makes a graph of it, in which a size is a number that is known only when a
photo comes. Products are rounded to 32 bits and added one by one, as OpenCV does: a matrix product would let one in 300
grey values that lie exactly between two whole numbers fall on the other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper
from onnx.inliner import inline_local_functions
from onnxscript import opset18 as op
from onnxscript import script, values
from onnxscript.optimizer import optimize

DOMAIN = values.Opset("sslmask", 1)
OPSET, IR_VERSION = 18, 10
FLOAT, UINT8, INT64, DOUBLE = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64, TensorProto.DOUBLE


@script(DOMAIN)
def area_taps(before, after):
    """Which old pixels lie in each new one, and how much of each.

    Returns:
        (taps, after) places of old pixels and how much of each counts, in old pixels; slivers count nothing, as in
        OpenCV. Then the (after,) widths of the new pixels, and the width that they should have.
    """
    old = op.Cast(before, to=DOUBLE)
    width = 1.0 / (op.Cast(after, to=DOUBLE) / old)
    start = op.Cast(op.Range(0, after, 1), to=DOUBLE) * width
    taps = op.Range(0, op.Cast(op.Ceil(width), to=INT64) + 1, 1)
    place = op.Cast(op.Floor(start), to=INT64) + op.Unsqueeze(taps, [1])
    left = op.Cast(place, to=DOUBLE)
    common = op.Min(start + width, left + 1.0) - op.Max(start, left)
    overlaps = common * op.Cast(common > 1e-3, to=DOUBLE)
    return op.Min(place, before - 1), overlaps, op.Min(width, old - start), width


@script(DOMAIN)
def cubic_taps(before, after):
    """(4, after) places of old pixels and their weights of cubic interpolation (a = -0.75); beyond the edge counts as
    the edge."""
    scale = 1.0 / (op.Cast(after, to=DOUBLE) / op.Cast(before, to=DOUBLE))
    centre = op.Cast((op.Cast(op.Range(0, after, 1), to=DOUBLE) + 0.5) * scale - 0.5, to=FLOAT)
    first = op.Floor(centre)
    x = op.Unsqueeze(centre - first, [0])
    w0 = ((-0.75 * (x + 1.0) + 3.75) * (x + 1.0) - 6.0) * (x + 1.0) + 3.0
    w1 = (1.25 * x - 2.25) * x * x + 1.0
    w2 = (1.25 * (1.0 - x) - 2.25) * (1.0 - x) * (1.0 - x) + 1.0
    weights = op.Concat(w0, w1, w2, 1.0 - w0 - w1 - w2, axis=0)
    place = op.Cast(first, to=INT64) + op.Unsqueeze(op.Constant(value_ints=[-1, 0, 1, 2]), [1])
    return op.Min(op.Max(place, op.Constant(value_int=0)), before - 1), weights


@script(DOMAIN)
def sums(images, places, weights):
    """(n, H, W, 3) whole or real numbers, (taps, h) places and weights -> (n, h, W, 3) sums over taps, one by one."""
    others = op.Squeeze(op.Shape(places)[0:1]) - 1
    first = op.Cast(op.Gather(images, op.Gather(places, 0, axis=0), axis=1), to=FLOAT)
    total = op.Unsqueeze(op.Gather(weights, 0, axis=0), [1, 2]) * first
    for number in range(others):
        weight = op.Unsqueeze(op.Gather(weights, number + 1, axis=0), [1, 2])
        total = total + weight * op.Cast(op.Gather(images, op.Gather(places, number + 1, axis=0), axis=1), to=FLOAT)
    return total


@script(DOMAIN)
def both_ways(images, rows, row_weights, columns, column_weights):
    """(n, H, W, 3) -> (n, h, w, 3) weighted sums over columns, then over rows."""
    turned = op.Transpose(images, perm=[0, 2, 1, 3])
    wide = op.Transpose(sums(turned, columns, column_weights), perm=[0, 2, 1, 3])
    return sums(wide, rows, row_weights)


@script(DOMAIN)
def shrunk(images, height, width):
    """Means over areas. Where new pixels are whole numbers of old ones, OpenCV adds integers and divides once; of four
    pixels it rounds a half upwards, otherwise to even."""
    shape = op.Shape(images)
    rows, row_parts, row_widths, row_width = area_taps(op.Squeeze(shape[1:2]), height)
    columns, column_parts, column_widths, column_width = area_taps(op.Squeeze(shape[2:3]), width)
    fractions = op.Abs(row_width - op.Round(row_width)) + op.Abs(column_width - op.Round(column_width))
    whole = fractions < 2.220446049250313e-16
    row_shares = op.Cast(op.Where(whole, row_parts, row_parts / row_widths), to=FLOAT)
    column_shares = op.Cast(op.Where(whole, column_parts, column_parts / column_widths), to=FLOAT)
    total = both_ways(images, rows, row_shares, columns, column_shares)
    area = op.Cast(row_width * column_width, to=FLOAT)
    mean = op.Where(whole, total * op.Reciprocal(area), total)
    four = op.And(op.And(whole, op.Equal(op.Round(row_width), op.Round(column_width))), op.Equal(op.Round(area), 4.0))
    return op.Cast(op.Where(four, op.Floor(mean + 0.5), op.Round(mean)), to=UINT8)


@script(DOMAIN)
def enlarged(images, height, width):
    """Cubic interpolation."""
    shape = op.Shape(images)
    rows, row_weights = cubic_taps(op.Squeeze(shape[1:2]), height)
    columns, column_weights = cubic_taps(op.Squeeze(shape[2:3]), width)
    total = both_ways(images, rows, row_weights, columns, column_weights)
    return op.Cast(op.Clip(op.Round(total), 0.0, 255.0), to=UINT8)


@script(DOMAIN)
def scaled(images, height, width):
    """(n, H, W, 3) uint8 -> (n, height, width, 3) uint8: first shrunk, then enlarged."""
    shape = op.Shape(images)
    small_height = op.Min(op.Squeeze(shape[1:2]), height)
    small_width = op.Min(op.Squeeze(shape[2:3]), width)
    if op.Or(small_height < op.Squeeze(shape[1:2]), small_width < op.Squeeze(shape[2:3])):
        small = shrunk(images, small_height, small_width)
    else:
        small = op.Identity(images)
    if op.Or(small_height < height, small_width < width):  # noqa: SIM108 - onnxscript knows no such expression
        result = enlarged(small, height, width)
    else:
        result = op.Identity(small)
    return result


@script(DOMAIN)
def crop(photos, size):
    """The largest centred square."""
    shape = op.Shape(photos)
    side = op.Min(shape[1:2], shape[2:3])
    top = (shape[1:2] - side) / 2
    left = (shape[2:3] - side) / 2
    ends = op.Concat(top + side, left + side, axis=0)
    return scaled(op.Slice(photos, op.Concat(top, left, axis=0), ends, [1, 2]), size, size)


@script(DOMAIN)
def squash(photos, size):
    """All of it, with another aspect ratio."""
    return scaled(photos, size, size)


@script(DOMAIN)
def pad(photos, size):
    """All of it, centred on mid-grey."""
    shape = op.Shape(photos)
    factor = op.Cast(size, to=DOUBLE) / op.Cast(op.Max(shape[1:2], shape[2:3]), to=DOUBLE)
    one = op.Constant(value_ints=[1])
    height = op.Max(op.Cast(op.Round(op.Cast(shape[1:2], to=DOUBLE) * factor), to=INT64), one)
    width = op.Max(op.Cast(op.Round(op.Cast(shape[2:3], to=DOUBLE) * factor), to=INT64), one)
    small = scaled(photos, op.Squeeze(height), op.Squeeze(width))
    top = (size - height) / 2
    left = (size - width) / 2
    zero = op.Constant(value_ints=[0])
    pads = op.Concat(zero, top, left, zero, zero, size - height - top, size - width - left, zero, axis=0)
    return op.Pad(small, pads, op.Cast(128, to=UINT8))


_PARTS = (area_taps, cubic_taps, sums, both_ways, shrunk, enlarged, scaled)
_WAYS = {"crop": crop, "squash": squash, "pad": pad}


def resize_graph(shapes: Sequence[tuple[int, str]], photos: str) -> Any:
    """An onnx.ModelProto from (n, height, width, 3) uint8 `photos` to `square0`, `square1`, … of some shapes.

    Args:
        shapes: size and resize of each square, as `data.images.fit` takes them.
        photos: name of the input.
    """
    nodes, squares = [], []
    for i, (size, resize) in enumerate(shapes):
        nodes += [
            helper.make_node("Constant", [], [f"size{i}"], value_int=size),
            helper.make_node(resize, [photos, f"size{i}"], [f"square{i}"], domain=DOMAIN.domain),
        ]
        squares.append(helper.make_tensor_value_info(f"square{i}", TensorProto.UINT8, ["n", size, size, 3]))
    whole = helper.make_tensor_value_info(photos, TensorProto.UINT8, ["n", "height", "width", 3])
    used = [*_PARTS, *(_WAYS[way] for way in dict.fromkeys(resize for _, resize in shapes))]
    model = helper.make_model(
        helper.make_graph(nodes, "resize", [whole], squares),
        functions=[part.to_function_proto() for part in used],
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN.domain, DOMAIN.version)],
        ir_version=IR_VERSION,
    )
    inlined = optimize(inline_local_functions(model))
    kept = [opset for opset in inlined.opset_import if opset.domain == ""]
    del inlined.opset_import[:]
    inlined.opset_import.extend(kept)  # without that of the functions, which are gone
    onnx.checker.check_model(inlined, full_check=True)
    return inlined
