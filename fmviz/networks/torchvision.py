"""torchvision's networks: what it says of them, and how they are built and fed here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

LEFT_OUT = ("video", "optical_flow", "quantization")
"""Its files of networks that take no single picture, or that compute in 8-bit integers."""

_CLASSES = {1000: "imagenet", 91: "coco", 21: "voc"}
_FROZEN_AT_ZERO = (
    "fasterrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn",
)


def index() -> dict[str, Any]:
    """What `assets/torchvision.json` holds, out of the metadata of the torchvision that is installed."""
    import torchvision
    from torchvision import models

    networks = {}
    for name in models.list_models():
        module = models.get_model_builder(name).__module__.removeprefix("torchvision.models.")
        weights = models.get_model_weights(name)
        if module.split(".")[0] in LEFT_OUT or not len(weights):
            continue
        # torchvision's own choice first.
        ordered = sorted(weights, key=lambda entry: entry is not weights.DEFAULT)
        networks[name] = _network(name, module, ordered)
    return {"torchvision": torchvision.__version__.split("+")[0], "networks": networks}


def _network(name: str, module: str, weights: list[Any]) -> dict[str, Any]:
    meta = weights[0].meta
    kind = {"detection": "detection", "segmentation": "segmentation"}.get(module.split(".")[0], "classification")
    return {
        "kind": kind,
        "module": module.split(".")[-1],
        "parameters": meta["num_params"],
        "macs": round(meta["_ops"] * 1e9),
        "minimum_input": min(meta.get("min_size", (1, 1))),
        "weights": [_weights(name, kind, entry) for entry in weights],
    }


def _weights(name: str, kind: str, entry: Any) -> dict[str, Any]:
    file_name = entry.url.rpartition("/")[2]
    found = re.search(r"-([0-9a-f]{8,})\.pth$", file_name)
    top1 = next((scores.get("acc@1") for scores in entry.meta["_metrics"].values()), None)
    return {
        "name": entry.name,
        "url": entry.url,
        "file_name": file_name,
        "sha256": found[1] if found else "",
        "nbytes": round(entry.meta["_file_size"] * 2**20),
        "classes": _CLASSES.get(len(entry.meta.get("categories") or ()), ""),
        "top1": top1,
        "frozen_eps": 0.0 if name in _FROZEN_AT_ZERO else None,
        "preprocessing": _preprocessing(kind, entry.transforms()),
    }


def _preprocessing(kind: str, transform: Any) -> Mapping[str, Any]:
    if kind == "detection":
        # It normalises and resizes by itself; here it is fed the picture as it is, in 0–1.
        return {"mode": "whole", "longer_side": 800, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    colours = {
        "mean": tuple(transform.mean),
        "std": tuple(transform.std),
        "interpolation": transform.interpolation.value,
    }
    if kind == "segmentation":
        return {"mode": "whole", "longer_side": transform.resize_size[0], **colours}
    return {"resize": transform.resize_size[0], "crop": transform.crop_size[0], **colours}
