"""fmviz: see what every layer of a convolutional network makes of your picture.

    import fmviz

    session = fmviz.Session(backbone="efficientnet_lite0_fpn")
    capture = session.run("cat.png")
    capture.predictions                      # [("tabby", 0.61), …] best first
    capture.taps["P3"].tensor                # (1, 64, 28, 28)
    capture["body.stage3.0"].tensor          # any layer, as it was when the layer put it out
    fmviz.layer_table("vgg19").totals.parameters
    fmviz.show(my_module, "cat.png")         # the window on a live model; the program goes on

Names are imported when they are first asked for: `import fmviz` loads neither torch nor Qt.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmviz.batch import export
    from fmviz.capture import Activation, Capture, capture_activations
    from fmviz.comparing import Comparison, compare
    from fmviz.errors import (
        BackboneError,
        Cancelled,
        DeviceError,
        DownloadError,
        EngineError,
        ExportError,
        FmvizError,
        ForwardError,
        LayerError,
        PictureError,
        TrustError,
        WeightsError,
    )
    from fmviz.layers import Layer
    from fmviz.networks.catalog import backbones
    from fmviz.pictures import Picture, read_picture
    from fmviz.preprocess import Preprocessing
    from fmviz.receptive_field import ReceptiveField
    from fmviz.session import Session
    from fmviz.showing import Showing, show
    from fmviz.table import LayerTable, layer_table
    from fmviz.timing import Timing, time_layers

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "BackboneError",
    "Cancelled",
    "Capture",
    "Comparison",
    "DeviceError",
    "DownloadError",
    "EngineError",
    "ExportError",
    "FmvizError",
    "ForwardError",
    "Layer",
    "LayerError",
    "LayerTable",
    "Picture",
    "PictureError",
    "Preprocessing",
    "ReceptiveField",
    "Session",
    "Showing",
    "Timing",
    "TrustError",
    "WeightsError",
    "__version__",
    "backbones",
    "capture_activations",
    "compare",
    "export",
    "layer_table",
    "read_picture",
    "show",
    "time_layers",
]

_ROOMS = {
    "fmviz.batch": ("export",),
    "fmviz.capture": ("Activation", "Capture", "capture_activations"),
    "fmviz.comparing": ("Comparison", "compare"),
    "fmviz.errors": (
        "BackboneError",
        "Cancelled",
        "DeviceError",
        "DownloadError",
        "EngineError",
        "ExportError",
        "FmvizError",
        "ForwardError",
        "LayerError",
        "PictureError",
        "TrustError",
        "WeightsError",
    ),
    "fmviz.layers": ("Layer",),
    "fmviz.networks.catalog": ("backbones",),
    "fmviz.pictures": ("Picture", "read_picture"),
    "fmviz.preprocess": ("Preprocessing",),
    "fmviz.receptive_field": ("ReceptiveField",),
    "fmviz.session": ("Session",),
    "fmviz.showing": ("Showing", "show"),
    "fmviz.table": ("LayerTable", "layer_table"),
    "fmviz.timing": ("Timing", "time_layers"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'fmviz' has no attribute {name!r}")
    value = getattr(import_module(_ROOM_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
