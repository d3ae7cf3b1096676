"""The window: everything that knows Qt, and nothing that knows torch."""

from fmviz.app.lighter import load_later, trust_modules

trust_modules()
load_later("numpy", "numpy.typing")
