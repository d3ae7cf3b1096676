"""The folders in which fmviz keeps what is the user's: the files that they trust, the pyramids that they trained,
what was open when the window was last seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from fmviz.errors import ExportError


def config_folder() -> Path:
    """`FMVIZ_CONFIG_HOME`, else where the system keeps configurations. `ExportError` where the user has no home."""
    import platformdirs

    return _place("FMVIZ_CONFIG_HOME", platformdirs.user_config_dir)


def data_folder() -> Path:
    """`FMVIZ_DATA_HOME`, else where the system keeps data. `ExportError` where the user has no home."""
    import platformdirs

    return _place("FMVIZ_DATA_HOME", platformdirs.user_data_dir)


def state_folder() -> Path:
    """`FMVIZ_STATE_HOME`, else where the system keeps what programs remember. `ExportError` where the user has no home."""
    import platformdirs

    return _place("FMVIZ_STATE_HOME", platformdirs.user_state_dir)


def _place(variable: str, of_the_system: Callable[..., str]) -> Path:
    place = os.environ.get(variable, "")
    if not place:
        try:
            place = of_the_system("fmviz", appauthor=False)
        # In a container the user may be a number that the system does not know.
        except RuntimeError:
            place = "~"
    place = os.path.expanduser(place)
    if place.startswith("~"):
        raise ExportError(f"You have no home folder to keep this in: name a folder in HOME or in {variable}.")
    return Path(place)
