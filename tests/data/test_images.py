"""Decoding and fitting, each against PIL's own functions, arithmetic, or a slow loop."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from ssl_mask.data import images as images_module
from ssl_mask.data.image_files import IMAGE_SUFFIXES, files_not_read, find_images, is_image_name
from ssl_mask.data.images import decode, fit
from ssl_mask.errors import DataError, ImageError, InputError

LOSSLESS = [".png", ".bmp", ".tif", ".tiff"]


def picture(height: int = 20, width: int = 30, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth, so that lossy formats stay close, and without any symmetry."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, channels)


def write(path: Path, array: np.ndarray, **options: object) -> Path:
    Image.fromarray(array.squeeze()).save(path, **options)
    return path


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    return tags


def png(width: int, height: int, bits: int, colour: int, rows: bytes) -> bytes:
    """A PNG written by hand, for kinds PIL cannot write. `rows` has a filter byte before each row."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# --- finding ----------------------------------------------------------------------------------------------------------


def test_image_names() -> None:
    assert all(is_image_name(f"a{suffix}") and is_image_name(f"A{suffix.upper()}") for suffix in IMAGE_SUFFIXES)
    assert not any(map(is_image_name, [".a.jpg", "._a.jpg", ".jpg", "a.txt", "a.jpg.txt", "jpg", ""]))


def test_find_is_recursive_sorted_and_skips_what_is_hidden(tmp_path: Path) -> None:
    wanted = ["B/2.PNG", "a/b/c.jpg", "a/b.jpeg", "a.gif", "é/x y.tiff"]
    for name in [*wanted, ".h/1.jpg", "a/.h/1.jpg", "a/.1.jpg", "a/._1.jpg", "a/1.txt"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    assert [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)] == sorted(wanted)


def test_find_follows_links_but_not_in_circles(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "itself.jpg").symlink_to(tmp_path / "itself.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nothing")
    (tmp_path / "again").symlink_to(tmp_path / "a")
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a/1.jpg", "again/1.jpg"]


def test_find_does_not_follow_a_link_to_what_contains_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("beside.jpg", "a/1.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert find_images(tmp_path / "a") == [tmp_path / "a" / "1.jpg"]


def test_all_names_of_a_jpeg_are_read(tmp_path: Path) -> None:
    for name in ("a.jfif", "b.JPE", "c.jif", "d.pjpeg", "e.mpo"):
        write(tmp_path / name, picture(), format="JPEG")
    assert [decode(path).shape for path in find_images(tmp_path)] == [(20, 30, 3)] * 5
    assert files_not_read(tmp_path) == {}


def test_pictures_that_are_not_read_are_counted_by_suffix(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("1.heic", "a/2.HEIC", "3.avif", "a/4.jp2", "5.dng", "a/6.3fr"):
        (tmp_path / name).touch()
    content = {
        "7": "JPEG", "a/8.5": "PNG", "9.jpg?width=100": "JPEG", "10.jpg_large": "GIF", "11.jpg.1": "WEBP",
        "12 v. 2": "BMP",
    }  # fmt: skip
    for name, kind in content.items():
        write(tmp_path / name, picture(), format=kind)
    (tmp_path / "13").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    (tmp_path / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(20))
    for name in ("README", "BMW and others", "II", "MM", "empty.", ".hidden", "RIFF"):
        (tmp_path / name).write_text(name)
    for name in ("a.txt", "14.jpg.json", "15.png.part"):
        (tmp_path / name).write_bytes((tmp_path / "7").read_bytes())
    os.mkfifo(tmp_path / "pipe")
    assert files_not_read(tmp_path) == {".3fr": 1, ".avif": 1, ".dng": 1, ".heic": 2, ".jp2": 1, "no suffix": 8}
    assert find_images(tmp_path) == []


def test_find_names_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        find_images(tmp_path / "nowhere")


# --- decoding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_colour_and_grey_are_exact(tmp_path: Path, suffix: str) -> None:
    colour, grey = picture(), picture(channels=1)
    np.testing.assert_array_equal(decode(write(tmp_path / f"c{suffix}", colour)), colour)
    np.testing.assert_array_equal(decode(write(tmp_path / f"g{suffix}", grey)), np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
def test_jpeg_equals_pil(tmp_path: Path, options: dict[str, object]) -> None:
    path = write(tmp_path / "a.jpg", picture(), **options)
    np.testing.assert_array_equal(decode(path), np.asarray(Image.open(path)))
    grey = write(tmp_path / "g.jpg", picture(channels=1), **options)
    np.testing.assert_array_equal(decode(grey), np.asarray(Image.open(grey).convert("RGB")))


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", picture(), format="PNG")
    np.testing.assert_array_equal(decode(path), picture())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_orientation_equals_exif_transpose(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = write(tmp_path / f"a{suffix}", picture(), exif=exif(orientation))
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert expected.shape == ((20, 30, 3) if orientation < 5 else (30, 20, 3))
    np.testing.assert_array_equal(decode(path), expected)


def test_orientation_6_by_hand(tmp_path: Path) -> None:
    """Orientation 6: the camera was turned, the stored top row is the right column."""
    path = write(tmp_path / "a.png", picture(), exif=exif(6))
    np.testing.assert_array_equal(decode(path)[:, -1], picture()[0])


def test_broken_exif_is_no_reason_to_refuse_and_does_not_warn(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    for junk in (
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 9,
        b"Exif\0\0nonsense",
        b"Exif\0\0MM\0*\0\0\xff\xff",
    ):
        write(path, picture(), exif=junk)
        assert decode(path).shape == (20, 30, 3)


def test_transparency_is_put_on_white(tmp_path: Path) -> None:
    rgba = picture(channels=4)
    alpha = rgba[..., 3:] / 255
    by_hand = rgba[..., :3] * alpha + 255 * (1 - alpha)
    for suffix in (".png", ".tif"):
        decoded = decode(write(tmp_path / f"a{suffix}", rgba))
        assert np.abs(decoded - by_hand).max() <= 1
    grey = picture(channels=2)
    alpha = grey[..., 1:] / 255
    decoded = decode(write(tmp_path / "la.png", grey))
    assert np.abs(decoded - np.repeat(grey[..., :1] * alpha + 255 * (1 - alpha), 3, axis=2)).max() <= 1


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255, 128])])
def test_palette_with_transparency(tmp_path: Path, transparency: int | bytes) -> None:
    colours = np.array([[10, 20, 30], [200, 0, 0], [0, 250, 0], [0, 0, 100]], np.uint8)
    alphas = np.array([255, 0, 255, 255 if transparency == 1 else 128]) / 255
    rows = np.random.default_rng(0).integers(0, 4, (9, 11), dtype=np.uint8)
    image = Image.fromarray(rows).convert("L")
    image.putpalette(colours.tobytes())
    image.save(tmp_path / "a.png", transparency=transparency)
    expected = (colours * alphas[:, None] + 255 * (1 - alphas[:, None]))[rows]
    assert np.abs(decode(tmp_path / "a.png") - expected).max() <= 1


def test_palette_without_transparency_and_one_bit(tmp_path: Path) -> None:
    flat = Image.fromarray(picture()).quantize(16)
    flat.save(tmp_path / "p.png")
    np.testing.assert_array_equal(decode(tmp_path / "p.png"), np.asarray(flat.convert("RGB")))
    bits = picture(channels=1) > 128
    write(tmp_path / "1.png", bits)
    np.testing.assert_array_equal(decode(tmp_path / "1.png"), np.repeat(bits * np.uint8(255), 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_bits_in_use_of_sixteen_are_kept(tmp_path: Path, suffix: str, channels: int) -> None:
    """A 12-bit sensor: 4095 is its white."""
    values = np.random.default_rng(0).integers(0, 4096, (20, 30, channels), dtype=np.uint16)
    values[..., 3:] = 65535  # opaque
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), values[..., [2, 1, 0, 3][:channels]] if channels > 1 else values[..., 0])
    expected = np.broadcast_to(values[..., :3] // 16, (20, 30, 3))
    np.testing.assert_array_equal(decode(path, depth=12), expected)
    assert decode(path).max() == 15  # all of the 16 bits: nearly black
    np.testing.assert_array_equal(
        decode(path, depth=10), np.minimum(np.broadcast_to(values[..., :3] // 4, (20, 30, 3)), 255)
    )


def test_bits_in_use_leave_other_images_alone(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "c.tif", "d.gif"):
        path = write(tmp_path / name, picture())
        np.testing.assert_array_equal(decode(path, depth=9), decode(path))


def test_bits_in_use_of_an_image_that_is_turned(tmp_path: Path) -> None:
    values = np.arange(600, dtype=np.uint16).reshape(20, 30)
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif(6))
    np.testing.assert_array_equal(decode(tmp_path / "a.png", depth=10)[..., 0], np.rot90(values >> 2, -1))


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3)])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, colour: int, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (12, 10, channels), dtype=np.uint16)
    values[0, 0], values[0, 1], values[0, 2] = 0, 65535, 256
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    (tmp_path / "a.png").write_bytes(png(10, 12, 16, colour, rows))
    decoded = decode(tmp_path / "a.png")
    np.testing.assert_array_equal(decoded, np.broadcast_to(values // 256, (12, 10, 3)))
    assert np.abs(decoded - np.broadcast_to(values / 257, (12, 10, 3))).max() <= 1


@pytest.mark.parametrize("orientation", [1, 6])
def test_sixteen_bit_tiff_upright_too(tmp_path: Path, orientation: int) -> None:
    values = np.arange(6 * 5, dtype=np.uint16).reshape(6, 5) * 2000
    Image.fromarray(values).save(tmp_path / "a.tif", exif=exif(orientation))
    expected = np.rot90(values, -1) if orientation == 6 else values
    np.testing.assert_array_equal(decode(tmp_path / "a.tif")[..., 1], expected // 256)


def test_thirty_two_bits_have_no_known_range(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"a\.tif.*32 bits"):
        decode(tmp_path / "a.tif")


def test_cmyk_jpeg_equals_pil_and_looks_right(tmp_path: Path) -> None:
    """PIL writes CMYK as Adobe does, inverted; read without that, the picture would be a negative."""
    path = tmp_path / "a.jpg"
    Image.fromarray(picture()).convert("CMYK").save(path, quality=100)
    assert b"Adobe" in path.read_bytes()
    decoded = decode(path)
    np.testing.assert_array_equal(decoded, np.asarray(Image.open(path).convert("RGB")))
    assert np.abs(decoded.astype(int) - picture()).mean() < 5


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_of_an_animation_the_first_frame(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (16, 12), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], **options)
    assert (decode(tmp_path / f"a{suffix}") == (255, 0, 0)).all()


def test_result_is_fresh_and_writable(tmp_path: Path) -> None:
    decoded = decode(write(tmp_path / "a.png", picture()))
    decoded[:] = 0
    assert decoded.flags.c_contiguous
    assert decode(tmp_path / "a.png").any()


# --- what cannot be decoded -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".gif", ".tif"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    """At every tenth of the length, and a few bytes before the pixels end."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    path = write(tmp_path / f"a{suffix}", noise)
    whole = path.read_bytes()
    for length in [1, 2, 5, 20, *(len(whole) * tenth // 10 for tenth in range(1, 10)), len(whole) - 200]:
        path.write_bytes(whole[:length])
        with pytest.raises(ImageError, match=f"a{suffix}"):
            decode(path)


@pytest.mark.parametrize("content", [b"", b"just text\n", b"\0" * 5000, b"\xff\xd8\xff", b"RIFF1234WEBP", b"II*\0"])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fake.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=r"fake\.jpg"):
        decode(tmp_path / "fake.jpg")


def test_empty_is_called_empty_and_text_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ImageError, match="0 bytes"):
        decode(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    with pytest.raises(ImageError, match="not a JPEG"):
        decode(tmp_path / "a.jpg")


def test_missing_folder_pipe_device_and_odd_names(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "no.jpg", tmp_path, tmp_path / "pipe.jpg", Path("/dev/zero"), tmp_path / "a\0.jpg"):
        with pytest.raises(ImageError, match=r"no such|No such|not a regular file|null"):
            decode(path)


@pytest.mark.parametrize("side", [10_000, 14_000, 60_000])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    """PIL would warn about the second and refuse the third in words without width, height or key."""
    (tmp_path / "bomb.png").write_bytes(png(side, side, 8, 2, b"\0" * 1000))
    with pytest.raises(ImageError, match=rf"bomb\.png: {side}x{side} pixels.*50000000") as caught:
        decode(tmp_path / "bomb.png")
    assert "data.max_pixels" in str(caught.value)


def test_the_limit_is_inclusive_and_may_be_raised_past_pils(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.png", picture(20, 30))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # PIL alone would refuse 600 pixels now
    assert decode(path, max_pixels=600).shape == (20, 30, 3)
    with pytest.raises(ImageError, match="30x20"):
        decode(path, max_pixels=599)


def test_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    good = [write(tmp_path / f"{i}.jpg", picture(seed=i), exif=exif(1 + i % 8)) for i in range(24)]
    alone = [decode(path) for path in good]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(decode, good * 4))
    assert all(np.array_equal(one, alone[i % 24]) for i, one in enumerate(together))


# --- fitting ----------------------------------------------------------------------------------------------------------


def slow_halves(image: np.ndarray, factor: int) -> np.ndarray:
    """The mean of every factor × factor block, one by one."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    blocks = [image[y * factor :][:factor, x * factor :][:, :factor] for y in range(height) for x in range(width)]
    return np.array([block.mean((0, 1)) for block in blocks]).reshape(height, width, 3)


@pytest.mark.parametrize("shape", [(48, 96), (96, 48), (48, 48)])
def test_crop_is_the_mean_of_the_centred_square(shape: tuple[int, int]) -> None:
    image = picture(*shape)
    top, left = (shape[0] - 48) // 2, (shape[1] - 48) // 2
    expected = slow_halves(image[top : top + 48, left : left + 48], 4)
    assert np.abs(fit(image, 12, "crop") - expected).max() <= 0.51


def test_squash_takes_everything() -> None:
    image = picture(48, 48).repeat(2, axis=1)  # twice as wide as it should be
    assert np.abs(fit(image, 12, "squash") - slow_halves(picture(48, 48), 4)).max() <= 1


def test_pad_keeps_everything_on_mid_grey() -> None:
    image = picture(24, 48)
    padded = fit(image, 12, "pad")
    assert (padded[:3] == 128).all()
    assert (padded[9:] == 128).all()
    assert np.abs(padded[3:9] - slow_halves(image, 4)).max() <= 0.51


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (7, 5), (32, 32), (31, 33), (200, 100), (10, 100)])
def test_any_shape_fits_and_flat_stays_flat(resize: str, shape: tuple[int, int]) -> None:
    fitted = fit(np.full((*shape, 3), 128, np.uint8), 32, resize)  # type: ignore[arg-type]
    assert fitted.shape == (32, 32, 3)
    assert fitted.dtype == np.uint8
    assert fitted.flags.c_contiguous
    assert (fitted == 128).all()


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_the_right_size_is_left_alone(resize: str) -> None:
    np.testing.assert_array_equal(fit(picture(32, 32), 32, resize), picture(32, 32))  # type: ignore[arg-type]


def test_too_little_memory_is_no_fault_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--on-bad skip` would leave a good image out: it catches ImageError."""
    path = write(tmp_path / "a.png", picture())

    def fail(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(images_module, "_to_rgb", fail)
    with pytest.raises(InputError, match=r"a\.png: too little memory to decode its 30x20 pixels") as stopped:
        decode(path)
    assert not isinstance(stopped.value, ImageError) and stopped.value.hint


@pytest.mark.parametrize("chunk", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_bomb_in_the_metadata_of_a_png_does_not_fill_the_memory(tmp_path: Path, chunk: bytes) -> None:
    bomb = zlib.compress(bytes(80_000_000), 1)
    body = chunk + b"key\0" + (b"\1\0\0\0" if chunk == b"iTXt" else b"\0") + bomb
    whole = png(3, 2, 8, 0, bytes(8))
    extra = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "a.png").write_bytes(whole[:33] + extra + whole[33:])
    tracemalloc.start()
    with suppress(ImageError):
        decode(tmp_path / "a.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
