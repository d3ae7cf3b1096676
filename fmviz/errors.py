"""What can go wrong, in words that a user can act on.

The message of each error is one sentence that names the file or the thing, says what is wrong with it and what to do.
The core raises these and never prints; the window and the command line each have one place that shows them.

    FmvizError
    ├── PictureError        a picture file that cannot be read
    ├── BackboneError       an unknown backbone, a picture too small for it, a size that it cannot run at
    ├── WeightsError        a weights file that is broken, unsafe, or made for another network
    ├── DownloadError       weights that could not be fetched
    ├── TrustError          a file of code that the user has not said they trust
    ├── LayerError          a layer, channel or tap that the capture does not hold, or one without maps
    ├── ForwardError        the network itself raised; carries what was captured until then
    ├── DeviceError         a device that is not there or has no memory left
    ├── ExportError         a file that could not be written
    ├── EngineError         the engine process, or the pipe to it
    └── Cancelled           the user changed their mind; nothing is wrong
"""

from __future__ import annotations


class FmvizError(Exception):
    """Base of all that fmviz raises on purpose; `str(error)` is one sentence for the user."""


class PictureError(FmvizError):
    """A picture that cannot be read: which file, what is wrong, what to do."""


class BackboneError(FmvizError):
    """A backbone that does not exist, or that cannot run on this picture at this size."""


class WeightsError(FmvizError):
    """A weights file that is absent, broken, unsafe, or does not fit the network. Nothing of it was loaded."""


class DownloadError(FmvizError):
    """Weights that could not be fetched: offline, refused, cut off, or not what they should be. Nothing of them is used."""


class TrustError(FmvizError):
    """A file of code that is not run, because the user has not said that they trust it.

    Attributes:
        path: the file.
        sha256: of its bytes, in hex: what would be trusted.
        edited: whether another content of this file was trusted.
    """

    def __init__(self, message: str, *, path: str, sha256: str, edited: bool) -> None:
        super().__init__(message)
        self.path = path
        self.sha256 = sha256
        self.edited = edited


class LayerError(FmvizError):
    """A layer, channel or tap that is not in the capture, or that has no spatial maps."""


class ForwardError(FmvizError):
    """The network raised in its forward.

    Attributes:
        capture: the `Capture` of the layers that had run by then, or None.
    """

    def __init__(self, message: str, capture: object = None) -> None:
        super().__init__(message)
        self.capture = capture


class DeviceError(FmvizError):
    """A device that does not exist here, or that has run out of memory."""


class ExportError(FmvizError):
    """A file that could not be written. What was there before is untouched.

    Attributes:
        whole_disk: whether its disk takes no other file either: it is full, or can only be read.
    """

    def __init__(self, message: str, *, whole_disk: bool = False) -> None:
        super().__init__(message)
        self.whole_disk = whole_disk


class EngineError(FmvizError):
    """The engine process ended, does not answer, or the protocol was broken."""


class Cancelled(FmvizError):  # noqa: N818 (it is no error)
    """Asked for by the user; whatever was half done has been undone."""

    def __init__(self, message: str = "Cancelled.") -> None:
        super().__init__(message)
