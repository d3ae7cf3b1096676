"""The protocol between the window and the engine: every message that crosses the pipe. `framing.py` has how it does.

Requests carry a number and a lane; each request gets any number of `Progress` and then exactly one final reply with its
number: the one named beside it, `Failed` or `Dropped`. In a lane, a newer request replaces an older one that has not started
yet.

Pixels are too many for a pipe: a request that wants them names a *block*, a file of shared memory that the window owns, and
the reply says in `Pixels` what lies there. Without a block (an engine on another machine) `Pixels` carries the bytes.

Arrays of floats travel as bytes, little-endian float64; names that are no text as `odd_names.py` says. Neither
Qt nor torch is imported here, and nothing is unpickled.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from fmviz.geometry import Geometry
from fmviz.maps import Normalisation, Reduction
from fmviz.parameter_counts import SharedTensor
from fmviz.picture_options import USUAL, PictureOptions

PROTOCOL = 6

Doing = Literal["loading torch", "loading", "running", "writing", "fetching", "comparing", "learning", "timing"]
"""The window has the words for these, in the user's language."""

ExportForm = Literal["grid", "maps", "npz", "safetensors"]

TableForm = Literal["text", "csv", "markdown", "latex", "latex-compact", "json"]


# What the messages are made of


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all: immutable, checked on arrival."""


class PictureSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where a picture comes from: a file's path, or its bytes (pasted, or sent to another machine, where the path is not)."""

    name: str
    path: str = ""
    data: bytes = b""
    options: PictureOptions = USUAL

    def is_of(self, other: PictureSource) -> bool:
        """Return whether both are the same file or bytes, whatever the options."""
        return (self.name, self.path, self.data) == (other.name, other.path, other.data)


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What to run a picture through, and how: enough to do it again after the engine was lost.

    `weights` is a name on offer or the path of a file; empty is the backbone's first offer. `side` is the crop's side, or
    the longer side of the whole picture; 0 is what the weights want.
    """

    backbone: str
    weights: str = ""
    seed: int = 0
    device: str = "cpu"
    mode: Literal["crop", "whole"] = "crop"
    side: int = 0


class Pixels(msgspec.Struct, frozen=True, kw_only=True):
    """uint8 pixels of the given shape, in the block that the request named, from its start; or here, in `data`."""

    shape: tuple[int, ...]
    data: bytes = b""


class OfferInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Trained weights of a network; `here` where they are on the engine's computer. `mode` and `side` are what they are fed;
    `head_parameters` are those of the detection head that they add to the network."""

    name: str
    file_name: str
    nbytes: int
    here: bool
    top1: float | None
    mode: Literal["crop", "whole"]
    side: int
    head_parameters: int = 0


class BackboneInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the chooser. `parameters` is 0, `macs` None, `paper` empty and `year` 0 where it is not known; `only_input` is
    the side of its input where it takes no other, else 0."""

    name: str
    group: str
    family: str = ""
    paper: str = ""
    year: int = 0
    parameters: int = 0
    macs: int | None = None
    offers: tuple[OfferInfo, ...] = ()
    pyramid: bool = False
    mode: Literal["crop", "whole"] = "crop"
    side: int = 224
    minimum_input: int = 1
    only_input: int = 0
    about: str = ""

    @property
    def weights(self) -> tuple[str, ...]:
        """The names of all weights, best first; "random" last."""
        return (*(offer.name for offer in self.offers), "random")

    @property
    def best_here(self) -> str:
        """What is loaded where the user chose nothing."""
        return next((offer.name for offer in self.offers if offer.here), "random")

    def offer(self, name: str) -> OfferInfo | None:
        return next((offer for offer in self.offers if offer.name == name), None)

    def head_parameters(self, weights: str = "") -> int:
        """Parameters of the detection head that these weights, or the best ones here, add to the network."""
        offer = self.offer(weights or self.best_here)
        return offer.head_parameters if offer else 0

    def wants(self, weights: str) -> tuple[Literal["crop", "whole"], int]:
        """How a picture is made ready for these weights, and the side of it in pixels."""
        offer = self.offer(weights or self.best_here)
        return (offer.mode, offer.side) if offer else (self.mode, self.side)


class CachedInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A file in the cache of weights, and the networks that it is for; none where fmviz does not know it. One that is not
    `whole` is what came of a download that was cut off: the next one goes on from there."""

    file_name: str
    nbytes: int
    backbones: tuple[str, ...]
    offer: str
    whole: bool


class ProposalInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A network that a file of weights may be for: how many of its `total` tensors agree in key and shape, how many are
    missing, and how many of the file are left over; whether it can be loaded; and what is to be said of it."""

    backbone: str
    matched: int
    total: int
    missing: int
    left_over: int
    fits: bool
    note: str


class TrustWanted(msgspec.Struct, frozen=True, kw_only=True):
    """A file of code that is run only after the user said so."""

    path: str
    sha256: str
    edited: bool


class LayerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of a capture: `name` is its key, `path` the module's. `shape` is the activation's, batch included.
    `magnitude` says that its values are complex, and shown by their magnitude."""

    name: str
    path: str
    call: int
    item: str
    kind: str
    shape: tuple[int, ...]
    stride: float | None
    spatial: bool
    taps: tuple[str, ...] = ()
    magnitude: bool = False


class WeightsInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Where the parameters came from, and what of them nobody trained: `("pyramid",)`, say, at the paths `("fpn",)`.
    `trained_on` says what a pyramid was trained on that saw no photographs with boxes: "drawn shapes"."""

    name: str
    seed: int | None
    untrained: tuple[str, ...]
    untrained_paths: tuple[str, ...] = ()
    trained_on: str = ""
    notes: tuple[str, ...]


class CallInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a module that is called several times; see `fmviz.table.Call`."""

    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    macs: int
    other_operations: int
    activation_bytes: int
    field: str


class TableRow(msgspec.Struct, frozen=True, kw_only=True):
    """One module of the layer table; see `fmviz.table.Row`. `field` is its receptive field in words, `field_size` its
    (height, width) where it is known. `each_call` is empty where there is no more than one."""

    path: str
    kind: str
    detail: str
    depth: int
    stage: str
    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    leaf: bool
    own_parameters: int
    parameters: int
    own_trainable: int
    trainable: int
    own_buffers: int
    buffers: int
    own_macs: int
    macs: int
    own_other_operations: int
    other_operations: int
    not_counted: tuple[str, ...]
    activation_bytes: int
    calls: int
    stride: float | None
    field: str
    field_size: tuple[int, int] | None
    each_call: tuple[CallInfo, ...] = ()


class TapMaps(msgspec.Struct, frozen=True, kw_only=True):
    """One named map of a pyramid: its pixels are `shape` bytes from `offset` in the block."""

    tap: str
    layer: str
    channels: int
    shape: tuple[int, int]
    offset: int
    limits: tuple[float, float]
    constant: bool = False
    """Whether its values are equal up to rounding."""


Matrix = tuple[tuple[float, ...], ...]
"""[i][j]: the share of the things that belong to level i and to which level j answers."""


class LearningInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How far training is: the phase and its steps, the loss, the latest figures, and a file of what was learned so far."""

    phase: str
    step: int
    steps: int
    loss: float | None
    matrix: Matrix
    by_rms: float | None
    ap50: float | None
    snapshot: str


class ThingInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that a level of the pyramid found: left, top, right and bottom in pixels of the network's input."""

    level: str
    score: float
    box: tuple[float, float, float, float]


# Requests


class Request(Message, frozen=True, kw_only=True):
    id: int
    lane: str = ""


class Hello(Request, frozen=True, kw_only=True):
    """Who is there? -> `Welcome`. Imports nothing heavy."""


class Devices(Request, frozen=True, kw_only=True):
    """Import torch; what can it run on, and what networks are there? -> `DevicesFound`"""


class ListNetworks(Request, frozen=True, kw_only=True):
    """What networks are there now, and where are their weights? With `timm`, also those of that package. Importing it takes
    seconds, and is done beside other requests. -> `NetworksListed`"""

    timm: bool = False


class Fetch(Request, frozen=True, kw_only=True):
    """Fetch trained weights into the cache, beside other requests. The user has asked for it. -> `Fetched`"""

    backbone: str
    weights: str


class ListCache(Request, frozen=True, kw_only=True):
    """What lies in the cache of weights? `remove` names a file that is to be deleted first. -> `CacheListed`"""

    remove: str = ""


class Propose(Request, frozen=True, kw_only=True):
    """Which networks may this file of weights be for? Answered beside other requests. -> `Proposed`"""

    path: str


class Trust(Request, frozen=True, kw_only=True):
    """The user trusts this file of code, as it is now. -> `Trusted`"""

    path: str
    sha256: str


class Learn(Request, frozen=True, kw_only=True):
    """Train a pyramid for a backbone over these weights of its body, in so many minutes (or on so many scenes and in so many
    steps), in a process of its own. -> `Learned`"""

    backbone: str
    weights: str = ""
    minutes: float = 3.0
    seed: int = 0
    scenes: int = 0
    steps: int = 0


class KeepPyramid(Request, frozen=True, kw_only=True):
    """Keep what `Learned` told of, as the file `target` or where it is on offer afterwards; or throw it away. ->
    `PyramidKept`, or `Dropped`"""

    backbone: str
    path: str
    target: str = ""
    keep: bool = True


class ReadPicture(Request, frozen=True, kw_only=True):
    """Decode a picture, no side longer than `limit` pixels, without torch. -> `PictureRead`"""

    source: PictureSource
    limit: int
    block: str = ""


class Run(Request, frozen=True, kw_only=True):
    """A picture through a network; the former capture is dropped when the new network is ready to run. -> `Ran`"""

    source: PictureSource
    setup: Setup


class ReadInput(Request, frozen=True, kw_only=True):
    """What the network was fed, with mean and standard deviation undone. -> `InputRead`"""

    run: int
    block: str = ""


class RenderMaps(Request, frozen=True, kw_only=True):
    """Maps of a layer, every `step`-th pixel of them: of `channels` (all, where None), or one of all. -> `MapsRendered`"""

    run: int
    layer: str
    channels: tuple[int, ...] | None = None
    reduction: Reduction | None = None
    normalisation: Normalisation = "map"
    limits: tuple[float, float] | None = None
    step: int = 1
    block: str = ""


class RenderTaps(Request, frozen=True, kw_only=True):
    """The named maps C2…P6, one map each: a channel or a reduction; limits of each map or of each row.
    `snapshot` names a file of a pyramid that is being trained: the levels are what it makes of C2–C5. -> `TapsRendered`"""

    run: int
    channel: int = 0
    reduction: Reduction | None = "l2"
    scale: Literal["map", "row"] = "map"
    snapshot: str = ""
    block: str = ""


class FindThings(Request, frozen=True, kw_only=True):
    """What did each level of the pyramid find? Nothing, where it has no head. -> `ThingsFound`"""

    run: int


class ReadValue(Request, frozen=True, kw_only=True):
    """The true value in one cell of a map, or of the matrix `channel` of a layer without maps. `channel` counts where
    `reduction` is None. With `snapshot`, the map is the level `tap` that this pyramid in training makes of the capture. ->
    `ValueRead`"""

    run: int
    layer: str
    channel: int
    row: int
    column: int
    reduction: Reduction | None = None
    snapshot: str = ""
    tap: str = ""


class ReadPixel(Request, frozen=True, kw_only=True):
    """The values of all channels of the network's input at one pixel; with `picture`, of the picture (RGB, 0 to 255). ->
    `PixelRead`"""

    run: int
    row: int
    column: int
    picture: bool = False


class DescribeChannel(Request, frozen=True, kw_only=True):
    """Histogram and statistics of one map. -> `ChannelDescribed`"""

    run: int
    layer: str
    channel: int
    bins: int = 96


class ReadVector(Request, frozen=True, kw_only=True):
    """The values of a layer without maps, the first 4096 of them. -> `VectorRead`"""

    run: int
    layer: str


class RenderMatrix(Request, frozen=True, kw_only=True):
    """One matrix of a layer without maps, every `step`-th row and column of it; see `fmviz.matrices`. -> `MatrixRendered`"""

    run: int
    layer: str
    number: int
    normalisation: Normalisation = "map"
    step: int = 1
    block: str = ""


class Tabulate(Request, frozen=True, kw_only=True):
    """The layer table of a backbone for an input of this size. -> `Tabulated`"""

    backbone: str
    size: tuple[int, int]


class FormatTable(Request, frozen=True, kw_only=True):
    """Format the layer table as text. With `other`, the two tables side by side, with the differences. -> `TableFormatted`

    Attributes:
        paths: modules of the rows, in their order, without totals; None for the whole table with its totals.
        columns: names of `fmviz.table_formats.COLUMNS`; None for those of the form.
        seconds: measured time of each of `paths`, float64, NaN where unknown; empty where none was measured.
        total_seconds: measured time of the network.
    """

    backbone: str
    size: tuple[int, int]
    form: TableForm
    other: str = ""
    paths: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    seconds: bytes = b""
    total_seconds: float | None = None


class Compare(Request, frozen=True, kw_only=True):
    """The tables of two backbones for inputs of the same size, stage by stage. -> `Compared`"""

    backbone: str
    other: str
    size: tuple[int, int]


class TimeLayers(Request, frozen=True, kw_only=True):
    """How long does each module take, on the device and the input of this run: the median of `rounds`. -> `LayersTimed`"""

    run: int
    rounds: int = 11


class ReadField(Request, frozen=True, kw_only=True):
    """The receptive fields of all cells of a layer. -> `FieldRead`"""

    run: int
    layer: str


class ReadColumn(Request, frozen=True, kw_only=True):
    """What does every layer with maps say at the place (x, y) of the network's input, in pixels? -> `ColumnRead`"""

    run: int
    x: float
    y: float
    channel: int


class Lend(Request, frozen=True, kw_only=True):
    """A part of a file of the window's computer, which has no `path` on the engine's: kept there as long as the engine lives,
    and taken where a later request names the path. `begin` with the first part. -> `Lent`

    `of` is the path that later requests name where the file is one of several: of a checkpoint's folder, or of one of its
    files. They are kept in one folder; `fresh` with the first part of the first of them."""

    path: str
    data: bytes
    begin: bool
    of: str = ""
    fresh: bool = False


class Export(Request, frozen=True, kw_only=True):
    """Write layers to a folder; with `inline` set the window does, and each file comes back as `FileMade`.
    `size`: 0 is the maps' own, -1 the picture's, else pixels of the longer side.
    `layers` are names or patterns; with `pyramid` set, one figure of the named maps instead. Browsing goes on meanwhile.
    `channels` picks some, for the form "maps"; `reduce` makes one map of all instead, and `limits` count for the normalisation
    "fixed". `over_picture` is the opacity of maps drawn over the picture; None draws them alone. -> `Exported`"""

    run: int
    layers: tuple[str, ...]
    folder: str
    form: ExportForm
    colour_map: str = "viridis"
    normalisation: Normalisation = "map"
    size: int = 0
    channels: tuple[int, ...] | None = None
    pyramid: bool = False
    channel: int = 0
    reduction: Reduction | None = "l2"
    scale: Literal["map", "row"] = "map"
    inline: bool = False
    reduce: Reduction | None = None
    limits: tuple[float, float] | None = None
    over_picture: float | None = None


class TidyUp(Request, frozen=True, kw_only=True):
    """Remove what exports that were killed left half written in a folder, beside other requests. -> `TidiedUp`"""

    folder: str


class Cancel(Request, frozen=True, kw_only=True):
    """End the request `target`, whether it runs or waits; it answers `Dropped`. -> `Dropped` for this one as well"""

    target: int


# Replies


class Reply(Message, frozen=True, kw_only=True):
    id: int


class Progress(Reply, frozen=True, kw_only=True):
    """What is being done, to what, and how much of it (0 to 1, or None where nobody knows). Of a download also how many
    bytes of how many are there (0: nobody knows), how many come in a second, and the seconds that are left."""

    doing: Doing
    name: str = ""
    fraction: float | None = None
    done: int = 0
    total: int = 0
    speed: float = 0.0
    left: float | None = None
    learning: LearningInfo | None = None


class Failed(Reply, frozen=True, kw_only=True):
    """`kind` is the class of the `FmvizError`, "Unexpected" for anything else; `message` is one sentence.
    `trust` says which file a `TrustError` is about."""

    kind: str
    message: str
    details: str = ""
    trust: TrustWanted | None = None


class Dropped(Reply, frozen=True, kw_only=True):
    """Replaced by a newer one, cancelled, or meant for a capture that is gone. Nothing is wrong."""


class Welcome(Reply, frozen=True, kw_only=True):
    protocol: int
    version: str
    process: int


class DevicesFound(Reply, frozen=True, kw_only=True):
    torch: str
    devices: tuple[str, ...]
    backbones: tuple[BackboneInfo, ...]


class NetworksListed(Reply, frozen=True, kw_only=True):
    backbones: tuple[BackboneInfo, ...]


class Fetched(Reply, frozen=True, kw_only=True):
    backbone: str
    weights: str
    file_name: str


class CacheListed(Reply, frozen=True, kw_only=True):
    folder: str
    files: tuple[CachedInfo, ...]


class Proposed(Reply, frozen=True, kw_only=True):
    """The best first."""

    path: str
    proposals: tuple[ProposalInfo, ...]


class Trusted(Reply, frozen=True, kw_only=True):
    path: str


class Learned(Reply, frozen=True, kw_only=True):
    """A pyramid was trained; it lies in `path` until it is kept. Its figures are those of `fmviz.training.measure.Figures`."""

    backbone: str
    path: str
    ap50: float
    by_rms: float
    by_objectness: float
    matrix: Matrix


class PyramidKept(Reply, frozen=True, kw_only=True):
    backbone: str
    path: str


class PictureRead(Reply, frozen=True, kw_only=True):
    """`size` is the picture's own (height, width); `pixels` (h, w, 3) may be smaller; `bands` is how many there are to choose
    from."""

    name: str
    sha256: str
    note: str
    size: tuple[int, int]
    pixels: Pixels
    bands: int = 3


class Ran(Reply, frozen=True, kw_only=True):
    """A capture is there; `run` names it in later requests. Where the network raised half way, `stopped` says where and
    why, and the layers are those up to there."""

    run: int
    setup: Setup
    picture_name: str
    geometry: Geometry
    preprocessing: str
    layers: tuple[LayerInfo, ...]
    weights: WeightsInfo
    predictions: tuple[tuple[str, float], ...]
    seconds: float
    bytes: int
    device: str
    stopped: str = ""
    notes: tuple[str, ...] = ()
    """Outputs that were left out, and things in the model that could not be restored; one sentence each."""


class InputRead(Reply, frozen=True, kw_only=True):
    pixels: Pixels


class MapsRendered(Reply, frozen=True, kw_only=True):
    """`pixels` (n, h, w); `limits` (n, 2). `statistics` (8, C), in the order of `fmviz.maps.Statistics`, where all C channels
    were asked for; empty otherwise."""

    run: int
    layer: str
    pixels: Pixels
    limits: bytes
    statistics: bytes
    step: int
    channels: tuple[int, ...] | None
    normalisation: Normalisation


class TapsRendered(Reply, frozen=True, kw_only=True):
    run: int
    taps: tuple[TapMaps, ...]
    data: bytes = b""


class ThingsFound(Reply, frozen=True, kw_only=True):
    """The best first."""

    run: int
    things: tuple[ThingInfo, ...]


class ValueRead(Reply, frozen=True, kw_only=True):
    value: float


class PixelRead(Reply, frozen=True, kw_only=True):
    values: tuple[float, ...]


class ChannelDescribed(Reply, frozen=True, kw_only=True):
    """`counts` (bins,) and `edges` (bins + 1,) float64; `statistics` eight numbers, in the order of `Statistics`."""

    layer: str
    channel: int
    counts: bytes
    edges: bytes
    statistics: tuple[float, ...]


class VectorRead(Reply, frozen=True, kw_only=True):
    """`reason` says why there are no maps; `count` is how many values there are, of which `values` holds the first."""

    layer: str
    values: bytes
    count: int
    reason: str


class MatrixRendered(Reply, frozen=True, kw_only=True):
    """`reason` says why there are no maps."""

    run: int
    layer: str
    number: int
    pixels: Pixels
    limits: tuple[float, float]
    constant: bool
    reason: str


class Tabulated(Reply, frozen=True, kw_only=True):
    """The totals are those of `fmviz.table.Totals`."""

    backbone: str
    size: tuple[int, int]
    rows: tuple[TableRow, ...]
    parameters: int
    trainable: int
    buffers: int
    parameter_bytes: dict[str, int]
    macs: int
    other_operations: int
    not_counted: tuple[str, ...]
    activation_bytes: int
    capture_bytes: int
    peak_bytes: int
    layers: int
    head_parameters: int = 0
    shared: tuple[SharedTensor, ...] = ()
    assumed_input: str = ""


class TableFormatted(Reply, frozen=True, kw_only=True):
    text: str


class ComparedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a comparison: the two values of a quantity, in numbers, of the whole network (stage "") or of a stage; None
    where a network has no such stage. See `fmviz.comparing`."""

    stage: str
    quantity: str
    one: float | None
    other: float | None


class Compared(Reply, frozen=True, kw_only=True):
    """`notes` say what the numbers count, where that is not plain."""

    backbone: str
    other: str
    size: tuple[int, int]
    rows: tuple[ComparedRow, ...]
    notes: tuple[str, ...] = ()


class LayersTimed(Reply, frozen=True, kw_only=True):
    """Seconds of each module that was called, by path, those in it included, float64 (n,), summed over its calls."""

    run: int
    paths: tuple[str, ...]
    seconds: bytes
    total: float
    rounds: int
    device: str


class FieldRead(Reply, frozen=True, kw_only=True):
    """See `fmviz.receptive_field.ReceptiveField`: its sides as int32, rows of (h, 1) or (h, w), columns of (1, w) or (h, w)."""

    run: int
    layer: str
    map_size: tuple[int, int]
    top: bytes
    bottom: bytes
    left: bytes
    right: bytes
    unbounded: tuple[int, int] | None
    unknown: str


class ColumnRead(Reply, frozen=True, kw_only=True):
    """Of each of `layers`, in the order of the run, float64 (n,): the value of the channel that is strongest (largest by
    magnitude) at the place, int32 which it is, the value of the channel asked for (NaN where there is no such channel), and
    the largest magnitude anywhere in the layer. `cells` are (row, column)."""

    run: int
    x: float
    y: float
    channel: int
    layers: tuple[str, ...]
    cells: tuple[tuple[int, int], ...]
    strongest: bytes
    strongest_channels: bytes
    chosen: bytes
    largest: bytes


class Lent(Reply, frozen=True, kw_only=True):
    path: str


class FileMade(Reply, frozen=True, kw_only=True):
    """A whole file of an export, to be written by the window. More follows."""

    name: str
    data: bytes


class Exported(Reply, frozen=True, kw_only=True):
    folder: str
    files: int
    skipped: tuple[str, ...]
    replaced: int = 0
    """How many of the files are in place of older ones of the same name."""


class TidiedUp(Reply, frozen=True, kw_only=True):
    removed: int


AnyRequest = (
    Hello
    | Devices
    | ListNetworks
    | Fetch
    | ListCache
    | Propose
    | Trust
    | Learn
    | KeepPyramid
    | ReadPicture
    | Run
    | ReadInput
    | RenderMaps
    | RenderTaps
    | FindThings
    | ReadValue
    | ReadPixel
    | DescribeChannel
    | ReadVector
    | RenderMatrix
    | Tabulate
    | FormatTable
    | Compare
    | TimeLayers
    | ReadField
    | ReadColumn
    | Export
    | TidyUp
    | Lend
    | Cancel
)
AnyReply = (
    Progress
    | Failed
    | Dropped
    | Welcome
    | DevicesFound
    | NetworksListed
    | Fetched
    | CacheListed
    | Proposed
    | Trusted
    | Learned
    | PyramidKept
    | PictureRead
    | Ran
    | InputRead
    | MapsRendered
    | TapsRendered
    | ThingsFound
    | ValueRead
    | PixelRead
    | ChannelDescribed
    | VectorRead
    | MatrixRendered
    | Tabulated
    | TableFormatted
    | Compared
    | LayersTimed
    | FieldRead
    | ColumnRead
    | Exported
    | FileMade
    | TidiedUp
    | Lent
)
