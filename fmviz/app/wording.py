"""The sentences of the window about what is shown: pure functions from values to words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QCoreApplication

from fmviz.app.drawn_map import DrawnMap
from fmviz.app.numbers import (
    bytes_words,
    counted,
    digits_of_range,
    duration_words,
    seconds_words,
    shape_words,
    stride_words,
    thousands,
    value_words,
)
from fmviz.app.state import ViewState, find_layer
from fmviz.app.views.network_list import parameters_words, shown_name
from fmviz.app.views.table_model import Selected
from fmviz.engine.messages import (
    LayerInfo,
    LayersTimed,
    Learned,
    Progress,
    ProposalInfo,
    Ran,
    TableForm,
    Tabulated,
    TapMaps,
    ThingInfo,
    TrustWanted,
)
from fmviz.maps import Reduction, Statistics
from fmviz.matrices import matrix_words
from fmviz.receptive_field import INDEPENDENT, WITHOUT_VALUES, ReceptiveField


def window_title(state: ViewState) -> str:
    """ "cat.png – resnet50_fpn – fmviz" """
    name = state.shown_source.name if state.shown_source else state.source.name if state.source else ""
    network = shown_name(state.shown.setup.backbone) if state.shown else ""
    return " – ".join(part for part in (name, network, "fmviz") if part)


def doing(progress: Progress) -> str:
    """What the engine is doing."""
    texts = {
        "loading torch": QCoreApplication.translate("Words", "Loading torch"),
        "loading": QCoreApplication.translate("Words", "Loading {name}"),
        "running": QCoreApplication.translate("Words", "Running {name}"),
        "writing": QCoreApplication.translate("Words", "Writing {name}"),
        "fetching": QCoreApplication.translate("Words", "Fetching {name}"),
        "learning": QCoreApplication.translate("Words", "Training a pyramid for {name}"),
        "comparing": QCoreApplication.translate("Words", "Comparing {name} with the networks"),
        "timing": QCoreApplication.translate("Words", "Measuring the layers of {name}"),
    }
    return texts[progress.doing].format(name=shown_name(progress.name))


def fetching(progress: Progress) -> str:
    """ "34 of 98 MB  ·  5.2 MB a second  ·  12 s left" """
    text = QCoreApplication.translate("Words", "{name}: {done}")
    if progress.total:
        text = QCoreApplication.translate("Words", "{name}: {done} of {total}")
    done, total = bytes_words(progress.done), bytes_words(progress.total)
    parts = [text.format(name=progress.name, done=done, total=total)]
    if progress.speed:
        speed = QCoreApplication.translate("Words", "{speed} a second")
        parts.append(speed.format(speed=bytes_words(progress.speed)))
    if progress.left is not None:
        left = QCoreApplication.translate("Words", "{time} left")
        parts.append(left.format(time=duration_words(progress.left)))
    return "  ·  ".join(parts)


def fetching_starts(weights: str) -> str:
    return QCoreApplication.translate("Words", "Asking for {weights} …").format(weights=weights)


def fetched(file_name: str) -> str:
    return QCoreApplication.translate("Words", "{name} is on this computer now.").format(name=file_name)


def fetching_cancelled() -> str:
    return QCoreApplication.translate("Words", "Cancelled: what had come of it was deleted.")


def fetching_lost() -> str:
    return QCoreApplication.translate("Words", "The engine ended meanwhile: fetch again, it goes on from what came.")


def fits_nothing(name: str, nearest: ProposalInfo | None) -> str:
    """Of a file of weights that is for none of the networks; which one comes nearest, and why it is not it."""
    if nearest is not None:
        text = QCoreApplication.translate("Words", "{name} fits none of the networks; {network} comes nearest. {note}")
        return text.format(name=name, network=shown_name(nearest.backbone), note=nearest.note)
    text = QCoreApplication.translate(
        "Words", "{name} fits none of the networks: choose another file, or open the model that it was made for."
    )
    return text.format(name=name)


def ended_by_force(backbone: str) -> str:
    """The user cancelled, and the engine was too busy to hear of it, whatever it did where that is not known."""
    if not backbone:
        return QCoreApplication.translate(
            "Words", "The engine did not answer, so it was ended and another one started."
        )
    text = QCoreApplication.translate(
        "Words", "Cancelled: {network} did not stop by itself, so its engine was ended and another one started."
    )
    return text.format(network=shown_name(backbone))


def learning(progress: Progress) -> str:
    """ "Learning: step 310 of 2400  ·  loss 1.42  ·  right level 71 %  ·  2 min left" """
    news = progress.learning
    if news is None:
        return doing(progress)
    texts = {
        "drawing": QCoreApplication.translate("Words", "Drawing scenes: {step} of {steps}"),
        "learning": QCoreApplication.translate("Words", "Learning: step {step} of {steps}"),
        "measuring": QCoreApplication.translate("Words", "Measuring on scenes that it has not seen: {step} of {steps}"),
    }
    parts = [texts[news.phase].format(step=thousands(news.step), steps=thousands(news.steps) if news.steps else "…")]
    if news.loss is not None:
        parts.append(QCoreApplication.translate("Words", "loss {loss}").format(loss=f"{news.loss:.2f}"))
    if news.by_rms is not None:
        parts.append(QCoreApplication.translate("Words", "right level {share}").format(share=f"{news.by_rms:.0%}"))
    if progress.left is not None:
        left = QCoreApplication.translate("Words", "{time} left")
        parts.append(left.format(time=duration_words(progress.left)))
    return "  ·  ".join(parts)


def learned(done: Learned) -> str:
    """How a training ended."""
    text = QCoreApplication.translate(
        "Words",
        "Trained. On scenes that it has not seen, {levels} of the things are loudest on the level of their size "
        "(chance: 25 %), and boxes have an average precision of {ap50}. Keep it?",
    )
    return text.format(levels=f"{done.by_rms:.0%}", ap50=f"{done.ap50:.2f}")


def learning_cancelled() -> str:
    return QCoreApplication.translate("Words", "Cancelled: nothing was kept.")


def obituary(errors: str, running: tuple[str, str] | None, *, again: bool, stays: bool) -> str:
    """The engine ended: what it said last, the picture and the network that were `running`, whether there is another one
    `again`, and whether something `stays` on the screen."""
    last = errors.splitlines()[-1][:200] if errors else ""
    parts = [QCoreApplication.translate("Words", "The engine ended unexpectedly.")]
    if running is not None:
        text = QCoreApplication.translate("Words", "It was running {picture} through {backbone}.")
        parts.append(text.format(picture=running[0], backbone=shown_name(running[1])))
    if last:
        parts.append(QCoreApplication.translate("Words", "It said: “{words}”.").format(words=last))
    if again and running is not None and stays:
        parts.append(QCoreApplication.translate("Words", "Another one was started; what is shown is from before."))
    elif again:
        parts.append(QCoreApplication.translate("Words", "Another one was started."))
    else:
        parts.append(QCoreApplication.translate("Words", "Try again, or choose a smaller size."))
    return " ".join(parts)


def no_pyramid_to_train() -> str:
    return QCoreApplication.translate("Words", "This network has no pyramid to train.")


def no_body_to_train_over(body: str) -> str:
    return QCoreApplication.translate(
        "Words",
        "{name} has no trained weights where the engine runs, and a pyramid needs them: fetch some, or choose a file "
        "(Network › Weights).",
    ).format(name=body)


def learning_unseen(text: str) -> str:
    """For the status line, where the page of the training is closed."""
    return QCoreApplication.translate("Words", "Training goes on. {text}").format(text=text)


def learning_kept(path: str) -> str:
    return QCoreApplication.translate("Words", "Kept as {path}.").format(path=path)


def learning_dropped() -> str:
    return QCoreApplication.translate("Words", "Thrown away.")


def learning_lost() -> str:
    return QCoreApplication.translate("Words", "The engine ended, and training with it: begin again.")


def untrusted(wanted: TrustWanted) -> str:
    """Why a file of code was not run; the checksum is for the dialog."""
    text = QCoreApplication.translate("Words", "{name} is a program that you have not said you trust: it was not run.")
    if wanted.edited:
        text = QCoreApplication.translate("Words", "{name} was changed since you trusted it: it was not run.")
    return text.format(name=PurePath(wanted.path).name)


def layer_title(layer: LayerInfo) -> str:
    """Its name with its taps: "layer2 · C3"."""
    name = layer.name or QCoreApplication.translate("Words", "output")
    return f"{name}   {' '.join(layer.taps)}" if layer.taps else name


def training_of(run: Ran, layer: LayerInfo) -> str:
    """What must be said wherever this layer is shown: that its parameters, or those that it depends on, were never
    trained, or on what."""
    if "body" in run.weights.untrained:
        return QCoreApplication.translate("Words", "untrained: random weights")
    in_pyramid = layer.path.split(".")[0] in ("fpn", "head") or layer.item[:2] in ("[P", "[M")
    if in_pyramid and "pyramid" in run.weights.untrained:
        return QCoreApplication.translate("Words", "untrained pyramid")
    if in_pyramid and run.weights.trained_on:
        text = QCoreApplication.translate("Words", "trained on {what}, not on COCO")
        return text.format(what=run.weights.trained_on)
    here = [path for path in run.weights.untrained_paths if f"{layer.path}.".startswith(f"{path}.")]
    output = "classifier" in run.weights.untrained and not layer.path and layer.item in ("", "[logits]")
    if here or output:
        return QCoreApplication.translate("Words", "untrained: random weights")
    return ""


def layer_facts(run: Ran, layer: LayerInfo, statistics: Statistics | None) -> str:
    """The line below the title: shape, stride, kind, and what there is to know first."""
    parts = [shape_words(layer.shape)]
    if layer.stride is not None:
        parts.append(_tr_stride(stride_words(layer.stride)))
    parts.append(layer.kind)
    if layer.magnitude:
        parts.append(QCoreApplication.translate("Words", "magnitude of complex values"))
    if training := training_of(run, layer):
        parts.append(training)
    if statistics is not None:
        parts += findings(statistics)
    return "  ·  ".join(parts)


def _tr_stride(words: str) -> str:
    return QCoreApplication.translate("Words", "stride {stride}").format(stride=words)


def findings(statistics: Statistics) -> list[str]:
    """What stands out: channels that are zero everywhere, and values that are no numbers."""
    found = []
    count = len(statistics.zeros)
    dead = int((statistics.zeros == 1).sum())
    if dead:
        text = QCoreApplication.translate("Words", "{dead} of {count} channels all 0")
        found.append(text.format(dead=thousands(dead), count=thousands(count)))
    constant = int((statistics.constant & (statistics.zeros < 1)).sum())
    if constant and count > 1:
        text = QCoreApplication.translate("Words", "{constant} channels constant")
        found.append(text.format(constant=thousands(constant)))
    broken = int(((statistics.nans > 0) | (statistics.infinities > 0)).sum())
    if broken:
        text = QCoreApplication.translate("Words", "{broken} channels hold NaN or infinity")
        found.append(text.format(broken=thousands(broken)))
    return found


def channel_notes(statistics: Statistics) -> dict[int, str]:
    """Return the note next to a channel's number: that it is constant up to rounding, or holds NaN or infinity."""
    notes = {}
    words: dict[float, str] = {}
    for channel in np.flatnonzero(statistics.constant):
        value = float(statistics.minimum[channel])
        if value not in words:
            words[value] = constant_words(value)
        notes[int(channel)] = words[value]
    for channel in np.flatnonzero((statistics.nans > 0) | (statistics.infinities > 0)):
        name = "NaN" if statistics.nans[channel] else "∞"
        notes[int(channel)] = name
    return notes


def constant_words(value: float) -> str:
    """Return "all 0" for a channel without any response, "constant 0.31" for any other value."""
    if value == 0:
        return QCoreApplication.translate("Words", "all 0")
    return QCoreApplication.translate("Words", "constant {value}").format(value=value_words(value))


def limits_words(low: float, high: float) -> str:
    """Return "0 … 3.2", or "constant 0.31" where both limits are the same."""
    digits = digits_of_range(low, high)
    return f"{value_words(low, digits)} … {value_words(high, digits)}" if low != high else constant_words(low)


def scale_words(run: Ran | None, drawn: DrawnMap) -> str:
    """Return the layer, and the channel or the maps, that the limits next to the colour bar belong to."""
    name = layer_words(run, drawn.layer)
    if drawn.kind == "matrix":
        text = QCoreApplication.translate("Words", "{map}; own scale")
        if drawn.normalisation != "map":
            text = QCoreApplication.translate("Words", "{map}; one scale for all matrices")
            if drawn.constant:
                text = QCoreApplication.translate("Words", "{map}: constant; one scale for all matrices")
        elif drawn.constant:
            text = QCoreApplication.translate("Words", "{map}: constant")
        return text.format(map=map_words(run, drawn))
    if drawn.normalisation == "map":
        text = QCoreApplication.translate("Words", "{layer}, channel {channel}; own scale")
        if drawn.constant:
            text = QCoreApplication.translate("Words", "{layer}, channel {channel}: constant")
        return text.format(layer=name, channel=drawn.channel)
    if drawn.normalisation == "symmetric":
        text = QCoreApplication.translate("Words", "{layer}: one scale for all maps, zero in the middle")
    else:
        text = QCoreApplication.translate("Words", "{layer}: one scale for all maps")
    return text.format(layer=name)


def channel_order(order: str, statistics: Statistics) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The channels in the order that was asked for; what has no number comes last, ties by channel."""
    keys = {
        "mean": statistics.mean,
        "maximum": statistics.maximum,
        "variance": statistics.std,
        "zeros": statistics.zeros,
    }
    if order not in keys:
        return np.arange(len(statistics.mean), dtype=np.intp)
    return np.argsort(-np.nan_to_num(keys[order], nan=-np.inf), kind="stable")


def tap_caption(tap: TapMaps, drawn: DrawnMap) -> str:
    """Return "P3  256 × 28 × 28", and on a second line the reduction or channel with its limits, "L2  0 … 3.2"."""
    words = limits_words(*tap.limits)
    if tap.constant and tap.limits[0] != tap.limits[1]:
        words = QCoreApplication.translate("Words", "constant, of {limits}").format(limits=words)
    short = {
        "l2": QCoreApplication.translate("Words", "L2"),
        "mean": QCoreApplication.translate("Words", "mean"),
        "max": QCoreApplication.translate("Words", "max"),
    }
    if drawn.reduction is None:
        what = QCoreApplication.translate("Words", "channel {channel}").format(channel=drawn.channel)
    else:
        what = short[drawn.reduction]
    return f"{tap.tap}  {tap.channels} × {tap.shape[0]} × {tap.shape[1]}\n{what}  {words}"


def pyramid_note(run: Ran) -> str:
    """What must be said of the pyramid."""
    if "body" in run.weights.untrained:
        return QCoreApplication.translate("Words", "Untrained: all weights are random, and so is what the levels show.")
    if "pyramid" in run.weights.untrained:
        return QCoreApplication.translate(
            "Words",
            "Untrained pyramid: C2–C5 are trained; M and P pass through random weights and mean little. "
            "“Train this pyramid” mends that in minutes, without any download.",
        )
    if run.weights.trained_on:
        text = QCoreApplication.translate(
            "Words",
            "Trained on {what}, not on COCO: P2 answers to the smallest things, P5 to the largest, wherever they are.",
        )
        return text.format(what=run.weights.trained_on)
    return ""


def found(things: Sequence[ThingInfo]) -> str:
    """What each level found: "Found 9 things: 4 on P2 (14–27 px), 3 on P3 (31–48 px), 2 on P5 (150–163 px)." """
    if not things:
        return ""
    parts = []
    for level in sorted({thing.level for thing in things}):
        sizes = sorted(_side(thing) for thing in things if thing.level == level)
        text = QCoreApplication.translate("Words", "{count} on {level} ({sizes} px)")
        span = f"{sizes[0]}–{sizes[-1]}" if sizes[0] != sizes[-1] else f"{sizes[0]}"
        parts.append(text.format(count=len(sizes), level=level, sizes=span))
    text = QCoreApplication.translate("Words", "Found {count} things: {where}.")
    if len(things) == 1:
        text = QCoreApplication.translate("Words", "Found one thing: {where}.")
    return text.format(count=len(things), where=", ".join(parts))


def _side(thing: ThingInfo) -> int:
    """The square root of its area in pixels of the network's input, by which levels are told apart."""
    left, top, right, bottom = thing.box
    return round(math.sqrt(max(0.0, (right - left) * (bottom - top))))


def run_words(run: Ran) -> str:
    """ "ran in 57 ms on cpu · holds 128 MB" """
    text = QCoreApplication.translate("Words", "ran in {time} on {device}  ·  holds {memory}")
    return text.format(time=seconds_words(run.seconds), device=run.device, memory=bytes_words(run.bytes))


def reduction_words(reduction: Reduction) -> str:
    """Return "L2 norm over channels" and the like."""
    return {
        "l2": QCoreApplication.translate("Words", "L2 norm over channels"),
        "mean": QCoreApplication.translate("Words", "mean over channels"),
        "max": QCoreApplication.translate("Words", "maximum over channels"),
    }[reduction]


def layer_words(run: Ran | None, name: str, tap: str = "") -> str:
    """Return "C3 layer2": the level, or the levels that a layer is, and its name."""
    layer = find_layer(run, name)
    levels = tap or (" ".join(layer.taps) if layer is not None else "")
    return " ".join(part for part in (levels, name or QCoreApplication.translate("Words", "output")) if part)


def map_words(run: Ran | None, drawn: DrawnMap) -> str:
    """Return the layer and the channel or the reduction: "C3 layer2, channel 37", "P3 fpn[p3], L2 norm over channels"."""
    if drawn.kind == "picture":
        return QCoreApplication.translate("Words", "picture, RGB")
    if drawn.kind == "input":
        return QCoreApplication.translate("Words", "network input, all channels")
    name = layer_words(run, drawn.layer, drawn.tap)
    if drawn.kind in ("matrix", "vector"):
        return f"{name}, {_matrix_words(run, drawn)}"
    words = QCoreApplication.translate("Words", "channel {channel}").format(channel=drawn.channel)
    if drawn.reduction is not None:
        words = reduction_words(drawn.reduction)
    if drawn.snapshot:
        name = QCoreApplication.translate("Words", "{layer} (in training)").format(layer=name)
    return f"{name}, {words}"


def bars_note(values: npt.NDArray[np.float64], count: int) -> str:
    """Return "49 values, 2 NaN or infinite.", for the bars of the first `values` of `count`; "" if they show all."""
    missing = int((~np.isfinite(values)).sum())
    if count == len(values) and not missing:
        return ""
    parts = [QCoreApplication.translate("Words", "{count} values").format(count=thousands(count))]
    if count == 1:
        parts = [QCoreApplication.translate("Words", "1 value")]
    if count > len(values):
        words = QCoreApplication.translate("Words", "the first {shown} drawn")
        parts.append(words.format(shown=thousands(len(values))))
    if missing:
        words = QCoreApplication.translate("Words", "{missing} NaN or infinite (×)")
        parts.append(words.format(missing=thousands(missing)))
    return ", ".join(parts) + "."


def _matrix_words(run: Ran | None, drawn: DrawnMap) -> str:
    """Return "vector", "matrix", or "matrix [12, 1]" where a layer has several; of complex values "vector, magnitude"."""
    layer = find_layer(run, drawn.layer)
    words = QCoreApplication.translate("Words", "vector")
    if drawn.kind == "matrix":
        which = matrix_words(layer.shape, drawn.channel) if layer is not None else ""
        words = " ".join((QCoreApplication.translate("Words", "matrix"), which)).rstrip()
    if layer is not None and layer.magnitude:
        words = QCoreApplication.translate("Words", "{which}, magnitude").format(which=words)
    return words


def readout(run: Ran | None, drawn: DrawnMap, cell: tuple[int, int], values: Sequence[float] = ()) -> str:
    """Return "C3 layer2, channel 37, row 12, column 9 = 0.8314"; without values, only where it is."""
    text = QCoreApplication.translate("Words", "{map}, row {row}, column {column}")
    if drawn.kind == "vector":
        text = QCoreApplication.translate("Words", "{map}, index {column}")
    place = text.format(map=map_words(run, drawn), row=cell[0], column=cell[1])
    # Values of a map whose limits are close would all read the same with four digits.
    digits = digits_of_range(*drawn.limits) if drawn.limits is not None else 4
    return f"{place} = {', '.join(value_words(value, digits) for value in values)}" if values else place


def field_of_layer(run: Ran | None, name: str, tap: str, words: str) -> str:
    """Return "C3: sees 91 × 91 px of the input": the shortest name of the layer before `words`."""
    layer = find_layer(run, name)
    level = tap or (layer.taps[0] if layer is not None and layer.taps else "")
    return f"{level or layer_words(run, name)}: {words}" if words else ""


def field_words(field: ReceptiveField, cell: tuple[int, int]) -> str:
    """Return the size of a cell's receptive field, cut by the borders of the picture: "sees 91 × 91 px"."""
    if field.unknown == INDEPENDENT:
        return QCoreApplication.translate("Words", "it does not depend on the input")
    if field.unknown == WITHOUT_VALUES:
        return QCoreApplication.translate("Words", "receptive field unknown: the weights have no values")
    if field.unknown:
        return QCoreApplication.translate("Words", "receptive field unknown after {operation}").format(
            operation=field.unknown
        )
    height, width = field.map_size
    box = field.box(*cell) if cell[0] < height and cell[1] < width else None
    if box is None:
        return QCoreApplication.translate("Words", "sees nothing of the input")
    if (box.height, box.width) == field.input_size:
        return QCoreApplication.translate("Words", "sees the whole input")
    words = QCoreApplication.translate("Words", "sees {height} × {width} px of the input")
    return words.format(height=f"{box.height:.0f}", width=f"{box.width:.0f}")


def column_words(place: tuple[float, float], channel: int) -> str:
    """What the plot of a column shows."""
    words = QCoreApplication.translate(
        "Words",
        "At ({x:.0f}, {y:.0f}) of the picture: line, the strongest channel of each layer; dots, channel {channel}",
    )
    return words.format(x=place[0], y=place[1], channel=channel)


def totals_words(table: Tabulated, timed: LayersTimed | None) -> str:
    """The lines below the layer table."""
    parts = [
        QCoreApplication.translate("Words", "{count} modules").format(count=thousands(len(table.rows))),
        _parameters(table),
        QCoreApplication.translate("Words", "{count} buffer values").format(count=thousands(table.buffers)),
        costs_words(table.macs, table.other_operations, table.not_counted),
        QCoreApplication.translate("Words", "weights {bytes}").format(
            bytes=", ".join(f"{bytes_words(nbytes)} {kind}" for kind, nbytes in table.parameter_bytes.items()) or "–"
        ),
        QCoreApplication.translate("Words", "a capture holds {kept}, a plain forward {peak} at its peak").format(
            kept=bytes_words(table.capture_bytes), peak=bytes_words(table.peak_bytes)
        ),
    ]
    if table.assumed_input:
        parts.append(QCoreApplication.translate("Words", "input {input}").format(input=table.assumed_input))
    if timed is not None:
        words = QCoreApplication.translate("Words", "{seconds:.1f} ms on {device}, the median of {rounds} rounds")
        parts.append(words.format(seconds=timed.total * 1000, device=timed.device, rounds=timed.rounds))
    where = QCoreApplication.translate("Words", "at {height} × {width}").format(
        height=table.size[0], width=table.size[1]
    )
    return f"{where}:  " + "  ·  ".join(parts)


def _parameters(table: Tabulated) -> str:
    words = QCoreApplication.translate("Words", "{count} parameters, {frozen} frozen").format(
        count=thousands(table.parameters), frozen=thousands(table.parameters - table.trainable)
    )
    head = table.head_parameters
    return f"{words} ({parameters_words(table.parameters - head, head)})" if head else words


def costs_words(macs: int, other: int, not_counted: tuple[str, ...]) -> str:
    """ "4.09 G MACs, 39.3 M other operations" """
    least = "≥ " if not_counted else ""
    words = QCoreApplication.translate("Words", "{macs} MACs, {other} other operations").format(
        macs=least + counted(macs), other=least + counted(other)
    )
    if not_counted:
        names = QCoreApplication.translate("Words", "not counted: {names}").format(names=", ".join(not_counted))
        return f"{words} ({names})"
    return words


def form_words(form: TableForm) -> str:
    """The name of a form of the table, as in "Copied 12 rows as Markdown"."""
    return {
        "text": QCoreApplication.translate("Words", "text"),
        "csv": "CSV",
        "markdown": "Markdown",
        "latex": "LaTeX",
        "latex-compact": QCoreApplication.translate("Words", "compact LaTeX"),
        "json": "JSON",
    }[form]


def selected_words(chosen: Selected) -> str:
    """What the selected rows of the table come to."""
    words = QCoreApplication.translate(
        "Words", "Selected:  {modules} modules  ·  {parameters} parameters  ·  {costs}  ·  activations {memory}"
    )
    return words.format(
        modules=thousands(chosen.modules),
        parameters=thousands(chosen.parameters),
        costs=costs_words(chosen.macs, chosen.other_operations, chosen.not_counted),
        memory=bytes_words(chosen.nbytes),
    )


def predictions(run: Ran) -> tuple[tuple[str, float], ...]:
    """What the network takes the picture for; () where what it puts out are no numbers."""
    return tuple(run.predictions) if all(math.isfinite(share) for _, share in run.predictions) else ()


def no_predictions(run: Ran) -> str:
    """Why there are none."""
    if predictions(run):
        return ""
    if run.predictions:
        return QCoreApplication.translate("Words", "No predictions: what the network puts out is NaN.")
    if "body" in run.weights.untrained:
        return QCoreApplication.translate("Words", "No predictions: these weights are random.")
    return QCoreApplication.translate("Words", "No predictions: these weights have no known classes.")


def weights_notes(run: Ran) -> str:
    """What a file of weights lacked, or had too much; that weights are random is said beside each layer."""
    if "body" in run.weights.untrained or not run.weights.notes:
        return ""
    return f"{run.weights.name}: " + " ".join(run.weights.notes)


def run_notes(run: Ran) -> str:
    """The notes on the weights and on the run, for the lines below the input."""
    return " ".join(part for part in (weights_notes(run), *run.notes) if part)


def picture_words(size: tuple[int, int], note: str) -> str:
    """Size, and below it what was done: "451 × 300 px" and "alpha over white"; width first, as pictures are spoken of."""
    text = f"{size[1]} × {size[0]} px"
    return f"{text}\n{note}" if note else text
