"""Where the files that come with fmviz are: icons, sample pictures, class names."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def asset(name: str) -> Path:
    """The path of the asset `name` ("samples/chelsea.png").

    A checkout's own `assets/` comes first: an editable install leaves a copy inside the package that grows stale.
    """
    checkout = _PACKAGE.parent / "assets"
    if (_PACKAGE.parent / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout / name
    return _PACKAGE / "assets" / name
