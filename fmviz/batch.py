"""Pictures through a network and onto the disk: what `fmviz export` does, and `fmviz.export`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fmviz.capture import Capture
from fmviz.defaults import BACKBONE
from fmviz.errors import ExportError, FmvizError, ForwardError
from fmviz.exporting import Form, distinct_names
from fmviz.exporting import export as export_capture
from fmviz.failures import one_line
from fmviz.maps import Normalisation
from fmviz.memory import check_budget
from fmviz.networks.backbone import RANDOM
from fmviz.networks.own import AS_BUILT
from fmviz.preprocess import Preprocessing
from fmviz.session import Session

log = logging.getLogger("fmviz")

_NOTES = 3
"""Sentences on omitted outputs of one picture at most."""


@dataclass(frozen=True, slots=True)
class PictureExported:
    """What came of one picture: the files that were written and what was left out, and what went wrong.

    Where the network or the disk stopped half way there are both: the files up to there, and the error. Where both did, the
    network's sentence is among the notes.
    """

    picture: str
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    error: FmvizError | None = None
    replaced: int = 0
    """How many of the files are in place of older ones of the same name."""


def export(
    pictures: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    *,
    backbone: str = BACKBONE,
    weights: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
    layers: str | Sequence[str] | None = None,
    form: Form = "grid",
    colour_map: str = "viridis",
    normalisation: Normalisation = "map",
    size: str | int = "map",
    over_picture: float | None = None,
    bands: Sequence[int] = (),
    stretch: bool = True,
) -> list[PictureExported]:
    """Run pictures through a backbone and write layers of each.

    What there is to know of the weights, as that the file had no classifier, is logged as a warning of the logger "fmviz":
    Python writes it to stderr where nobody configures logging.

    Args:
        pictures: a path, or several.
        folder: where to; made where it is missing. Several pictures get a folder of their own each, named after them.
        backbone, weights, device, seed, preprocessing: as `Session` takes them.
        layers: names of layers or taps, or patterns with `*` and `?` ("layer2.*", "P?"); None is all taps: C2–C5, and
            M2–M5 and P2–P6 of a pyramid.
        form: "grid" (a captioned PNG a layer), "maps" (a PNG a channel), "npz" or "safetensors" (raw values).
        colour_map, normalisation: of PNGs.
        size: of PNGs: "map" (their own), "picture" (that of the part which the network saw), or pixels of the longer side.
        over_picture: opacity from 0 to 1 of maps drawn over the picture; None for maps alone.
        bands: bands of the pictures to show, as `fmviz.read_picture` takes them.
        stretch: whether data of few values are stretched, as `fmviz.read_picture` takes it.

    Returns:
        One record a picture, in their order. A picture that fails does not keep the others from being done: its record
        holds the error. A disk that is full, or can only be read, does: those after it are not begun, and hold its error.

    Raises:
        BackboneError, WeightsError, DeviceError: the network itself cannot be had.
    """
    if isinstance(pictures, str | os.PathLike):
        pictures = [pictures]
    session = Session(
        backbone,
        weights=weights,
        device=device,
        seed=seed,
        preprocessing=preprocessing,
        bands=bands,
        stretch=stretch,
    )
    for note in notes_of_weights(session, weights):
        log.warning(note)
    chosen: dict[str, Any] = {
        "layers": layers,
        "form": form,
        "colour_map": colour_map,
        "normalisation": normalisation,
        "size": size,
        "over_picture": over_picture,
    }
    return list(export_pictures(session, pictures, Path(folder), **chosen))


def notes_of_weights(session: Session, asked_for: str | os.PathLike[str] | None) -> tuple[str, ...]:
    """What is to be said of the weights, a sentence each; nothing of random ones that were asked for by name, nor of those
    that the user's own code makes."""
    if asked_for == RANDOM or session.weights.name == AS_BUILT:
        return ()
    return tuple(f"{session.backbone.name}, weights {session.weights.name}: {note}" for note in session.weights.notes)


def export_pictures(
    session: Session,
    pictures: Sequence[str | os.PathLike[str]],
    folder: Path,
    *,
    progress: Callable[[str], None] | None = None,
    **chosen: Any,
) -> Iterator[PictureExported]:
    """One record after the other, as the pictures are done; `progress` hears of every file. `chosen` as in `export`."""
    full: ExportError | None = None
    stems = [Path(picture).stem for picture in pictures]
    folders = [folder] if len(stems) == 1 else [folder / name for name in distinct_names(stems)]
    for picture, target in zip(pictures, folders, strict=True):
        try:
            if full is not None:
                raise full
            done = _exported(session, picture, target, progress, chosen)
        except FmvizError as error:
            done = PictureExported(os.fspath(picture), error=error)
        # Of code of the user's, or a fault of fmviz: the other pictures are exported all the same.
        except Exception as error:
            log.debug("An unexpected error", exc_info=True)
            done = PictureExported(os.fspath(picture), error=ExportError(f"{os.fspath(picture)}: {one_line(error)}."))
        if isinstance(done.error, ExportError) and done.error.whole_disk:
            full = done.error
        yield done


def _exported(
    session: Session,
    picture: str | os.PathLike[str],
    folder: Path,
    progress: Callable[[str], None] | None,
    chosen: dict[str, Any],
) -> PictureExported:
    # Asked before: where memory runs out, the system may end the whole process, and the pictures after this one with it.
    read = session.read(picture)
    check_budget(session, session.input_size(read))
    try:
        capture = session.run(read)
    except ForwardError as error:
        if not isinstance(error.capture, Capture) or not error.capture:
            raise
        return _exported_half_way(session, picture, folder, progress, chosen, error)
    return _written(session, picture, capture, folder, progress, chosen)


def _exported_half_way(
    session: Session,
    picture: str | os.PathLike[str],
    folder: Path,
    progress: Callable[[str], None] | None,
    chosen: dict[str, Any],
    stopped: ForwardError,
) -> PictureExported:
    """The layers up to where the network stopped: what was asked for of them, or all where it has no taps yet."""
    capture = stopped.capture
    assert isinstance(capture, Capture)
    layers = chosen["layers"] or tuple(capture.taps) or ("*",)
    try:
        done = _written(session, picture, capture, folder, progress, {**chosen, "layers": layers})
    except FmvizError as error:
        # A layer that was asked for may come after the end.
        return PictureExported(os.fspath(picture), notes=(str(error),), error=stopped)
    if done.error is not None:
        return replace(done, notes=(*done.notes, str(stopped)))
    return replace(done, error=stopped)


def _written(
    session: Session,
    picture: str | os.PathLike[str],
    capture: Capture,
    folder: Path,
    progress: Callable[[str], None] | None,
    chosen: dict[str, Any],
) -> PictureExported:
    files: list[Path] = []
    notes: list[str] = [*_notes_of_reading(capture), *capture.notes(_NOTES)]
    replaced = 0
    failed: ExportError | None = None
    layers = chosen["layers"] or tuple(capture.taps)
    try:
        for record in export_capture(capture, session.facts(capture), folder=folder, **{**chosen, "layers": layers}):
            if record.path is not None:
                files.append(record.path)
                replaced += record.replaced
            if record.failed and failed is None:
                failed = ExportError(record.note)
            elif record.note:
                notes.append(record.note)
            if progress is not None:
                progress(record.path.name if record.path else record.note)
    except ExportError as error:
        failed = error
    return PictureExported(os.fspath(picture), tuple(files), tuple(notes), failed, replaced)


def _notes_of_reading(capture: Capture) -> list[str]:
    """The note of a picture that was stretched, or some of whose bands are shown."""
    picture = capture.picture
    if picture is None or not (picture.limits or picture.shown_bands):
        return []
    return [picture.note] if picture.note else []
