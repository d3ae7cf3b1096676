"""fmviz: see what every layer of a convolutional network makes of your picture."""

from __future__ import annotations

__version__ = "0.1.0"
