"""Pictures: a file, its bytes, an array or a PIL image -> `Picture`, upright 8-bit RGB, whatever was in it.

Files are read by Pillow through an allow-list of formats, their size is checked before a pixel is decoded, and all that
can be wrong with one becomes a `PictureError` of one sentence.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import threading
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

from fmviz.errors import PictureError
from fmviz.picture_options import USUAL, PictureOptions, picture_options
from fmviz.pixels import Upright, WrongBandsError, depth, tiff_pixels, upright_rgb
from fmviz.tiff import MOST_PAGES, RGB, Layout, TooLargeTiffError, UnsupportedTiffError, read_layout
from fmviz.tiff import SIGNATURES as TIFF_SIGNATURES

# Pillow has the first four ready. `_decoded` imports the plugins of the others, or it would load all that it has.
FORMATS: tuple[str, ...] = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF")
"""What may be in a file, as Pillow calls it. An EPS or a PSD that calls itself .png is refused."""

SUFFIXES: tuple[str, ...] = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp"),
    *(".tif", ".tiff", ".gif", ".bmp", ".avif"),
)
"""What such files are called, for dialogs. What a file is called does not matter for reading it."""

MAX_PIXELS = 178_956_970
"""More is taken for a decompression bomb. It is where Pillow itself refuses: half a gigabyte of RGB."""

_SIGNATURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_READABLE = "PNG, JPEG, WebP, TIFF, GIF, BMP or AVIF"

_SAFE_PIXELS = 4_000_000
_MOST_A_BYTE = 8_500
"""Pixels that a byte of a file may stand for, beyond so many in all. A blank PNG of one bit has 8,240. Other forms can pack
blank areas tighter, and there is nothing to see in those."""

_MOST_TEXT = 8_000_000

_SKETCH = 512
"""Pixels of the shorter side that a large JPEG is first decoded with: twice what most networks are fed."""

# `catch_warnings` saves and restores what belongs to the whole process: two of ours must not overlap.
_warnings_lock = threading.Lock()


Pixels = npt.NDArray[np.uint8]


class _Decoded:
    """The pixels of a file as far as anybody asked for them; `again` decodes it with a shorter side of so many or more."""

    def __init__(self, pixels: Pixels, shorter: int, again: Callable[[int], Pixels] | None = None) -> None:
        pixels.setflags(write=False)
        self._pixels = pixels
        self._whole = pixels if again is None else None
        self._shorter = shorter
        self._again = again
        self._lock = threading.Lock()

    @property
    def is_whole(self) -> bool:
        """Whether all pixels are decoded."""
        return self._whole is not None

    def at_least(self, shorter: int) -> Pixels:
        """All that there is, or fewer pixels that are enough for a shorter side of so many."""
        if (found := self._found(shorter)) is not None:
            return found
        with self._lock:
            return self._made(shorter)

    def whole_within(self, seconds: float) -> Pixels | None:
        """All pixels; None where another thread decodes the file for longer than so many seconds."""
        if self._whole is not None:
            return self._whole
        if not self._lock.acquire(timeout=seconds):
            return None
        try:
            return self._made(self._shorter)
        finally:
            self._lock.release()

    def _found(self, shorter: int) -> Pixels | None:
        """Return decoded pixels that are large enough; None if there are none yet.

        A reduced picture of sufficient size is preferred even if all pixels are decoded. Otherwise the network's input would
        depend on earlier requests.
        """
        pixels = self._pixels
        return pixels if min(pixels.shape[:2]) >= min(shorter, self._shorter) else self._whole

    def _made(self, shorter: int) -> Pixels:
        if (found := self._found(shorter)) is not None:
            return found
        assert self._again is not None
        made = self._again(shorter)
        made.setflags(write=False)
        if min(made.shape[:2]) >= self._shorter:
            self._whole = made
        else:
            self._pixels = made
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """The image that the user gave, before preprocessing.

    Attributes:
        name: the file's name without its folder; printable, and valid UTF-8.
        sha256: of the file's bytes, in hex; of the pixels' bytes where there is no file.
        note: what a person should know of how it was read ("first of 12 frames; alpha over white"), or "".
        size: (height, width), upright.
        options: The bands, and whether data of few values are stretched, as they were asked for.
        bands: The number of bands that the file has to choose from.
        limits: The values drawn black and white, where the range of the data was stretched to 0–255; else None.
        shown_bands: Numbers from 1 of the bands that are shown, where there are others or they were chosen; else empty.
    """

    name: str
    sha256: str
    note: str
    size: tuple[int, int]
    _decoded: _Decoded
    options: PictureOptions = USUAL
    bands: int = 3
    limits: tuple[int | float, int | float] | None = None
    shown_bands: tuple[int, ...] = ()

    def facts(self) -> dict[str, Any]:
        """What it takes to read the picture again, as JSON values: of bands and stretch where they matter."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            **({"bands": list(self.shown_bands)} if self.shown_bands else {}),
            **({} if self.options.stretch else {"stretch": False}),
            **({"stretched_from": list(self.limits)} if self.limits else {}),
        }

    @property
    def pixels(self) -> Pixels:
        """(H, W, 3) uint8 RGB, sRGB where the file said what it is, upright, C-contiguous, read-only, owned.

        Of a large JPEG they are decoded when they are first asked for, which takes its time and memory.
        """
        return self._decoded.at_least(min(self.size))

    @property
    def is_decoded(self) -> bool:
        """Whether `pixels` need not be decoded any more."""
        return self._decoded.is_whole

    def pixels_within(self, seconds: float) -> Pixels | None:
        """Return `pixels`, or None if another thread decodes them and needs longer than so many seconds."""
        return self._decoded.whole_within(seconds)

    def at_least(self, shorter: int) -> Pixels:
        """The same picture with a shorter side of `shorter` pixels or more, or all that it has where it has fewer.

        A large JPEG is decoded at a half, a quarter or an eighth of its size, whose pixels are averages of its own, as far
        as that is enough. All else is `pixels`.
        """
        return self._decoded.at_least(shorter)


def read_picture(
    source: str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any] | Picture,
    *,
    name: str = "",
    bands: Sequence[int] = (),
    stretch: bool = True,
) -> Picture:
    """A picture from wherever it comes.

    Args:
        source: a path; a file's bytes; a PIL image (as it is now, left as it is); an (H, W, 3) RGB or (H, W) grey uint8
            array (copied); or a `Picture`, which is returned as it was read.
        name: what to call it; "" is the file's own name.
        bands: Numbers from 1 of the bands to show, as (4, 3, 2) for red, green and blue, or (5,) for grey. Empty takes the
            file's colours, or the first three bands.
        stretch: Whether data of more than 8 bits that use less than a quarter of the range of their type, as 12-bit data in a
            16-bit file, are stretched to 0–255 by their own range. The picture's note gives the range.

    Raises:
        PictureError: a file that is absent, unreadable, empty, damaged, too large or no picture; a kind of TIFF that is not
            supported; a band that the file does not have; another kind of array.
    """
    options = picture_options(bands, stretch=stretch)
    if isinstance(source, Picture):
        return replace(source, name=_printable(name)) if name else source
    if isinstance(source, np.ndarray):
        return _from_array(source, _printable(name or "array"), options)
    if isinstance(source, Image.Image):
        own_name = Path(os.fsdecode(getattr(source, "filename", ""))).name
        return _from_image(source, _printable(name or own_name or "picture"), options)
    if isinstance(source, bytes):
        return _from_file(io.BytesIO(source), _printable(name or "picture"), options)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not os.fspath(source):
            raise PictureError("The path of the picture is empty: give the path of a file.")
        return _from_path(path, _printable(name or path.name or str(path)), options)
    raise PictureError(
        f"An object of type {type(source).__name__} is not a picture: give a path, bytes, a PIL image or a uint8 array."
    )


def _printable(name: str) -> str:
    """The last part of a name, without what breaks a line, and without surrogates, which UTF-8 cannot hold."""
    unfit = {"Cc", "Cs", "Zl", "Zp"}
    return "".join("\ufffd" if unicodedata.category(sign) in unfit else sign for sign in Path(name).name or name)


def _from_array(array: npt.NDArray[Any], name: str, options: PictureOptions) -> Picture:
    shape = array.shape
    if array.dtype != np.uint8 or 0 in shape or not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)):
        raise PictureError(
            f"{name} has shape {shape} and type {array.dtype}: give (height, width, 3) or (height, width) of uint8."
        )
    with _complaints(name, b""):
        made = upright_rgb(Image.fromarray(np.ascontiguousarray(array)), 8, False, options)
    return _picture(made, name, "", options)


def _from_image(image: Image.Image, name: str, options: PictureOptions) -> Picture:
    with _complaints(name, b""):
        _check_size(image.size, name)
        if (file := _file_of_tiff(image)) is not None:
            made, _ = _decoded_tiff(file, name, options)
            return _picture(made, name, "", options)
        # A copy, because counting the frames of the caller's animation would seek in it and undo what they drew on it.
        made = upright_rgb(image.copy(), *depth(image), options)
    return _picture(made, name, "", options)


def _file_of_tiff(image: Image.Image) -> IO[bytes] | None:
    """The file of a TIFF that Pillow has opened and not decoded yet, since it reads some layouts wrong; a copy in memory."""
    file = getattr(image, "fp", None)
    if image.format != "TIFF" or file is None or not getattr(image, "tile", None) or image.tell():
        return None
    place = file.tell()
    file.seek(0)
    data = io.BytesIO(file.read())
    file.seek(place)
    return data


def in_folder(folder: Path) -> list[Path]:
    """The files in this folder that are called as pictures are, by name, cat9 before cat10; not those in folders in it.

    Raises:
        OSError: it cannot be read.
    """
    found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    return sorted(found, key=lambda path: ([*_words_and_numbers(path.name.casefold())], path.name))


def _words_and_numbers(name: str) -> Iterator[str | int]:
    """In turn, beginning with a word, which may be empty: two names compare like with like."""
    for place, part in enumerate(re.split(r"(\d+)", name)):
        yield int(part) if place % 2 else part


def _from_path(path: Path, name: str, options: PictureOptions) -> Picture:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise PictureError(f"{name} is a folder: choose the pictures in it.")
        if not stat.S_ISREG(mode):
            raise PictureError(f"{name} is a device or a pipe, not a file: save the picture to a file first.")
        with open(path, "rb") as file:
            return _from_file(file, name, options)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PictureError(f"{name} does not exist: check its name and folder, or choose another picture.") from error
    except PermissionError as error:
        raise PictureError(
            f"{name} may not be read by you: change its permissions, or choose another picture."
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise PictureError(f"{name} cannot be opened ({reason}): check the disk, or choose another picture.") from error
    except ValueError as error:
        # Python's own words for it depend on its version.
        raise PictureError(
            f"{name} cannot be opened (there is a null character in its path): check the path."
        ) from error


def _from_file(file: IO[bytes], name: str, options: PictureOptions) -> Picture:
    head = file.read(1024)
    if not head:
        raise PictureError(f"{name} is empty: copy or download it again, or choose another picture.")
    with _complaints(name, head):
        made, size = _decoded(file, name, _SKETCH, options)
    file.seek(0)
    if made.pixels.shape[:2] == size:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        return _picture(made, name, sha256, options)
    # The bytes are kept: what the file's name leads to may be another file when more of it is asked for.
    data = file.read()

    def again(shorter: int) -> Pixels:
        with _complaints(name, head):
            return _decoded(io.BytesIO(data), name, shorter, options)[0].pixels

    return _picture(made, name, hashlib.sha256(data).hexdigest(), options, size, again)


def _picture(
    made: Upright,
    name: str,
    sha256: str,
    options: PictureOptions,
    size: tuple[int, int] | None = None,
    again: Callable[[int], Pixels] | None = None,
) -> Picture:
    pixels = made.pixels
    size = size or (pixels.shape[0], pixels.shape[1])
    return Picture(
        name,
        sha256 or hashlib.sha256(pixels.data).hexdigest(),
        "; ".join(made.notes),
        size,
        _Decoded(pixels, min(size), again),
        options,
        made.bands,
        made.limits,
        made.shown,
    )


@contextmanager
def _complaints(name: str, head: bytes) -> Iterator[None]:
    """What Pillow says of a file of this name and first bytes: warnings unsaid, errors as a `PictureError`.

    All exceptions are caught, since a damaged file makes its decoders raise nearly any kind of them.
    """
    try:
        with _warnings_lock, warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            with _less_text():
                yield
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        claimed = re.search(r"\d+", str(error))
        raise PictureError(_too_large(name, int(claimed[0]) if claimed else 0)) from error
    except MemoryError as error:
        raise PictureError(f"{name} needs more memory than there is: close something, or make it smaller.") from error
    except WrongBandsError as error:
        raise PictureError(_without_band(name, error.count)) from error
    except UnsupportedTiffError as error:
        raise PictureError(
            f"{name} was not read, because this kind of TIFF is not supported: {error}; convert it to PNG or to a TIFF "
            "of another kind."
        ) from error
    except TooLargeTiffError as error:
        raise PictureError(
            f"{name} {error}, which is more than is safe: make it smaller with another program."
        ) from error
    except UnidentifiedImageError as error:
        raise PictureError(_unidentified(name, head)) from error
    except Exception as error:
        wordy = "MAX_TEXT_" in str(error)
        raise PictureError(_wordy(name) if wordy else _damaged(name)) from error


@contextmanager
def _less_text() -> Iterator[None]:
    """Texts in a PNG may come to 64 MB together by Pillow's default, which takes a third of a second to unpack."""
    before = PngImagePlugin.MAX_TEXT_MEMORY
    PngImagePlugin.MAX_TEXT_MEMORY = min(before, _MOST_TEXT)
    try:
        yield
    finally:
        PngImagePlugin.MAX_TEXT_MEMORY = before


def _too_large(name: str, pixels: int) -> str:
    return (
        f"{name} claims {pixels:,} pixels, and no more than {MAX_PIXELS:,} are safe to read: "
        "make it smaller with another program."
    )


def _without_band(name: str, count: int) -> str:
    if count == 1:
        return f"{name} has one band: leave the choice of bands out."
    return f"{name} has {count} bands: choose one or three of the numbers from 1 to {count}."


def _packed(name: str, size: tuple[int, int], nbytes: int) -> str:
    return (
        f"{name} claims {size[0]:,} × {size[1]:,} pixels in {nbytes:,} bytes, and more than {_MOST_A_BYTE:,} a byte are not "
        "unpacked: save it anew with another program, if it is a picture."
    )


def _wordy(name: str) -> str:
    return (
        f"{name} holds metadata that unpack to more than the {PngImagePlugin.MAX_TEXT_CHUNK:,} bytes that are read: "
        "save it anew without them."
    )


def _damaged(name: str) -> str:
    return f"{name} is damaged or cut short: copy or download it again, or choose another picture."


def _unidentified(name: str, head: bytes) -> str:
    """Why a file that begins with `head` is nothing that Pillow knows."""
    if head.startswith(_SIGNATURES) or head[4:12] in (b"ftypavif", b"ftypavis"):
        return _damaged(name)
    # The last bytes may be half a letter.
    text = head.decode("utf-8", errors="ignore")
    if len(text.encode()) >= len(head) - 3 and all(
        unicodedata.category(sign) != "Cc" or sign.isspace() for sign in text
    ):
        return f"{name} holds text, not a picture: choose a {_READABLE} file."
    return f"{name} is not a picture that can be read here: convert it to {_READABLE}."


def _check_size(size: tuple[int, int], name: str) -> None:
    """Refuse a size (width, height) with too many pixels or none."""
    if size[0] * size[1] > MAX_PIXELS:
        raise PictureError(_too_large(name, size[0] * size[1]))
    if size[0] * size[1] == 0:
        raise PictureError(f"{name} has no pixels: choose another picture.")


def _check_packing(size: tuple[int, int], nbytes: int, name: str) -> None:
    """Refuse a size (width, height) that so few bytes cannot hold."""
    if size[0] * size[1] > max(_SAFE_PIXELS, _MOST_A_BYTE * nbytes):
        raise PictureError(_packed(name, size, nbytes))


def _decoded(file: IO[bytes], name: str, shorter: int, options: PictureOptions) -> tuple[Upright, tuple[int, int]]:
    """The picture, of a JPEG no more than is enough for a `shorter` side; and its own size (height, width), upright."""
    file.seek(0)
    if file.read(4) not in TIFF_SIGNATURES:
        return _decoded_by_pillow(file, name, shorter, options)
    made, layout = _decoded_tiff(file, name, options)
    if layout.pages > 1:
        count = f"{layout.pages} or more" if layout.pages >= MOST_PAGES else str(layout.pages)
        made = replace(made, notes=(f"first of {count} pages", *made.notes))
    return made, made.pixels.shape[:2]


def _decoded_tiff(file: IO[bytes], name: str, options: PictureOptions) -> tuple[Upright, Layout]:
    layout = read_layout(file)
    size = layout.size[::-1]
    _check_size(size, name)
    _check_packing(size, file.seek(0, os.SEEK_END), name)
    if layout.by_pillow:
        return _tiff_by_pillow(file, name, layout, options), layout
    return tiff_pixels(file, layout, options), layout


def _tiff_by_pillow(file: IO[bytes], name: str, layout: Layout, options: PictureOptions) -> Upright:
    """A page whose codec gives pixels and not bytes: JPEG, fax; or that libtiff converts: YCbCr."""
    from PIL import TiffImagePlugin

    file.seek(0)
    try:
        image = TiffImagePlugin.TiffImageFile(file)
    except Exception as error:
        raise UnsupportedTiffError(layout.words) from error
    with image:
        _check_size(image.size, name)
        try:
            image.load()
        except OSError as error:
            if layout.is_of_old_jpeg:
                # Its writers disagreed on what is in it.
                raise UnsupportedTiffError(layout.words) from error
            raise
        made = upright_rgb(image, *depth(image), options)
    if layout.colours == RGB and layout.samples > 3 and layout.alpha is None and not options.bands:
        made = replace(made, notes=(f"bands 1, 2, 3 of {layout.samples} as red, green, blue", *made.notes))
    return made


def _decoded_by_pillow(
    file: IO[bytes], name: str, shorter: int, options: PictureOptions
) -> tuple[Upright, tuple[int, int]]:
    from PIL import AvifImagePlugin, WebPImagePlugin  # noqa: F401

    nbytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    with Image.open(file, formats=[form for form in FORMATS if form != "TIFF"]) as image:
        _check_size(image.size, name)
        _check_packing(image.size, nbytes, name)
        frames = getattr(image, "n_frames", 1)
        width, height = image.size
        orientation = _orientation(image)
        # Blocks at the right and the lower edge that are cut off must stay there.
        stays = orientation in (1, 5) or not (width % 8 or height % 8)
        if stays and isinstance(image, JpegImagePlugin.JpegImageFile):
            image.draft(None, (shorter, shorter))
        reduced = image.size
        image.load()
        made = upright_rgb(image, *depth(image), options, file)
    if frames > 1:
        made = replace(made, notes=(f"first of {frames} frames", *made.notes))
    # The pixels themselves tell, but for a square.
    lies = made.pixels.shape[:2] != (reduced[1], reduced[0]) if reduced[0] != reduced[1] else orientation >= 5
    return made, (width, height) if lies else (height, width)


def _orientation(image: Image.Image) -> int:
    """By EXIF, 1 to 8; 1 where its metadata are damaged."""
    with suppress(Exception):
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1
