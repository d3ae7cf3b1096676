"""The window: everything that knows Qt, and nothing that knows torch."""

from fmviz.app.lighter import load_later, load_pyside

load_pyside()
load_later("numpy", "numpy.typing")
