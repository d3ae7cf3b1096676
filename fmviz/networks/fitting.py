"""Whether the tensors of a file are those of a network: asked, and answered in words, before any of them is loaded.

A file may hold more than the network, and under longer names: a detector's has its backbone under `backbone.body.`, what
DataParallel and torch.compile wrap has `module._orig_mod.` before every key. So the prefix is looked for under which most
keys and shapes agree, whatever it is called.

What then does not fit is told apart. Parts that a network can do without (the classifier, the pyramid) may be absent or
others: they are left out. Tensors that lie beside the network (a detector's heads) are left over. Anything else, a block
more or less, another width, makes it another network's file.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from fmviz.networks.averages import is_averaged
from fmviz.networks.backbone import Backbone
from fmviz.networks.folding import Fold, apply_folds
from fmviz.networks.network import Network
from fmviz.networks.tables import EXTRA_STATE, Table, quoted

COUNT = "num_batches_tracked"
"""Frozen batch norm does not keep it, and in eval mode nothing depends on it: a file may lack it, or have it in vain."""

MOST_PREFIXES = 12
"""Prefixes that are tried, of those that most keys have."""

DEEPEST = 8
"""Names of a key that are taken for a prefix at most."""

NARROW = (
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
)
"""Types of eight bits, from which weights are widened, with a note."""

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64, *NARROW)
INTEGERS = (
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
)
COMPLEX = (torch.complex64, torch.complex128, torch.complex32)

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")
"""torchvision's DenseNet files have `denselayer1.norm.1.weight` for `denselayer1.norm1.weight`."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The comparison of a file's tensors with a network's.

    Attributes:
        place: what they lie under in the file: "model_ema", "state_dict → backbone.".
        state: what agrees: the network's key -> the file's tensor, in whatever precision.
        total: how many tensors the network has, batch norm's counts of batches left out.
        absent: parts ("classifier", "pyramid") of which the file has nothing.
        others: parts of which the file has another one -> how it differs; nothing of them is in `state`.
        missing: keys of the network that are not in the file, those of such parts left out.
        unknown: keys of the file that lie within the network, which does not have them.
        misfits: of tensors with another shape or type: "conv1.weight is 64 × 4 × 7 × 7 instead of 64 × 3 × 7 × 7".
        left_over: keys of the file that lie beside the network.
        averaged: whether it is the running average of a network.
        frozen: whether its batch norm was frozen in training, as a detector's is.
        dropped: keys of the file in such other parts, without the prefix.
        unused: keys of the file that the network knows and does without, as auxiliary classifiers.
        inside: the file's tensors by their keys without the prefix.
        again: where else in the file there is as good a one.
        empty: keys of the network that are in the file without their values, as ZeRO-3 saves partitioned ones.
        left_out: entries of the file, by key without the prefix, that are no usable tensors -> why not.
        extra: the network's key of a module's extra state -> its value in the file.
        notes: what the user should know of what was taken, a sentence each.
    """

    place: str
    state: dict[str, Tensor]
    total: int
    absent: tuple[str, ...]
    others: Mapping[str, str]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    misfits: tuple[str, ...]
    left_over: tuple[str, ...]
    averaged: bool
    frozen: bool
    dropped: tuple[str, ...]
    unused: tuple[str, ...]
    inside: Mapping[str, Tensor]
    again: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        return bool(self.state) and not (self.missing or self.unknown or self.misfits)

    @property
    def partitioned(self) -> bool:
        """Whether it does not fit because values lie in other files."""
        return bool(self.empty) and not self.fits

    @property
    def matched(self) -> int:
        """How many tensors agree, batch norm's counts of batches left out."""
        return sum(not key.endswith(COUNT) for key in self.state)

    @property
    def untrained(self) -> tuple[str, ...]:
        """The parts that must be initialised."""
        return (*self.absent, *self.others)

    @property
    def astray(self) -> int:
        """How many tensors of the file have no place in the network."""
        return len(self.left_over) + len(self.dropped) + len(self.unknown) + len(self.misfits)

    @property
    def rank(self) -> tuple[bool, bool, int, int]:
        """Greater is better, among those of one network."""
        return (self.fits, self.averaged, self.matched + len(self.empty), -len(self.left_over))

    def reasons(self) -> str:
        """Why not: numbers, and an example of each."""
        if self.partitioned:
            return f"the values of {len(self.empty)} of its {self.total} tensors lie in other partitions (ZeRO-3)"
        reasons = []
        if self.missing:
            example = self._reason(self.missing)
            reasons.append(f"{len(self.missing)} of its {self.total} tensors are missing (such as {example})")
        if self.misfits:
            reasons.append(f"{len(self.misfits)} of {self.total} have another shape or type ({self.misfits[0]})")
        if self.unknown:
            reasons.append(f"{len(self.unknown)} in the file are unknown to it (such as {quoted(self.unknown[0])})")
        return ", ".join(reasons) or "it holds none of its tensors"

    def _reason(self, missing: tuple[str, ...]) -> str:
        """A missing key: one that is in the file in a form that cannot be used, where there is such a one."""
        known = next((key for key in missing if key in self.left_out), None)
        return missing[0] if known is None else f"{quoted(known)}, which {self.left_out[known]}"


def parts_of(backbone: Backbone, network: nn.Module) -> Mapping[str, str]:
    """What a weights file of this network may lack as a whole -> its path."""
    return network.parts if isinstance(network, Network) else backbone.parts


def fit(network: nn.Module, tensors: Mapping[str, Tensor], *, parts: Mapping[str, str] | None = None) -> Fit:
    """How one state dict fits; `parts` are the network's own where None."""
    known = network.parts if isinstance(network, Network) else {}
    return best_fit(network, (Table("", dict(tensors)),), parts=known if parts is None else parts)


def best_fit(network: nn.Module, tables: tuple[Table, ...], *, parts: Mapping[str, str]) -> Fit:
    """How that of the state dicts fits which fits best, under the prefix under which it does.

    Args:
        network: ours, or any other; it may be on the meta device, and is left as it is.
        tables: at least one.
        parts: what may be absent as a whole: "classifier" -> its path in the network.
    """
    wanted = tensors_of(network)
    found: list[Fit] = []
    for table in tables:
        most = 0
        for prefix, count in _prefixes(wanted, table.tensors):
            # As many keys as agree elsewhere must be there at least; most prefixes are those of a layer or two.
            if count >= most:
                found.append(_fit(network, wanted, table, prefix, parts))
                most = max(most, found[-1].matched)
    best = max(found, key=lambda fit: fit.rank)
    taken = {id(tensor) for tensor in best.state.values()}
    # An average of the parameters alone shares its buffers with the network.
    again = tuple(
        fit.place
        for fit in found
        if fit.fits
        and fit.matched == best.matched
        and 2 * sum(id(tensor) in taken for tensor in fit.state.values()) <= len(taken)
    )
    return replace(best, again=again) if best.fits else best


def told(found: Fit, name: str, seed: int) -> tuple[str, ...]:
    """What the user should know of a file that fits the network called `name`, a sentence each."""
    notes = [f"The file has no {part}: the network's is random (seed {seed})." for part in found.absent]
    for part, words in found.others.items():
        notes.append(f"The file's {part} is another one ({words}) and was left out: {name}'s is random (seed {seed}).")
    if left := (*found.left_over, *found.unused):
        example = quoted(left[0])
        if len(left) == 1:
            notes.append(f"A tensor of the file ({example}) has no place in {name} and was left out.")
        else:
            notes.append(f"{len(left)} tensors of the file (such as {example}) have no place in {name}: left out.")
    if found.left_out:
        example = quoted(next(iter(found.left_out)))
        if len(found.left_out) == 1:
            notes.append(f"An entry of the file ({example}) {next(iter(found.left_out.values()))} and was left out.")
        else:
            notes.append(
                f"{len(found.left_out)} entries of the file that are no usable tensors (such as {example}) were left out."
            )
    if found.again:
        which = f"the average, under “{found.place}”," if found.averaged else f"that under “{found.place}”"
        notes.append(f"The file holds {1 + len(found.again)} such networks: {which} was taken.")
    return (*notes, *found.notes)


def owned(found: Fit, network: nn.Module) -> dict[str, Tensor]:
    """What to load: half and double precision become the network's own, channels-last and the like contiguous."""
    wanted = tensors_of(network)
    return {key: tensor.to(wanted[key].dtype).contiguous() for key, tensor in found.state.items()}


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """The network's state dict, without the extra state of its modules, which may be of any type."""
    state = network.state_dict()
    return {key: value for key, value in state.items() if not _is_extra(key) and isinstance(value, Tensor)}


def _is_extra(key: str) -> bool:
    return key.rpartition(".")[2] == EXTRA_STATE


def _prefixes(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[tuple[str, int]]:
    """Those under which the network may lie, with the number of keys that have them; most first, and "" before all."""
    counts: Counter[str] = Counter()
    for key in tensors:
        names = key.split(".")[:-1][:DEEPEST]
        counts.update(".".join(names[:depth]) + "." for depth in range(1, len(names) + 1))
    likely = [(prefix, count) for prefix, count in counts.most_common(MOST_PREFIXES) if 4 * count >= len(wanted)]
    return [("", len(tensors)), *likely]


def _fit(network: nn.Module, wanted: Mapping[str, Tensor], table: Table, prefix: str, parts: Mapping[str, str]) -> Fit:
    within = {key.removeprefix(prefix): tensor for key, tensor in table.tensors.items() if key.startswith(prefix)}
    inside, folded = apply_folds(within, table.folds, wanted, prefix)
    given = _renamed(network, wanted, inside)
    # Nothing in a forward depends on these counts: one of another form is left out.
    given = {
        key: tensor
        for key, tensor in given.items()
        if not (key.endswith(COUNT) and key in wanted and _misfit(key, tensor, wanted[key]))
    }
    state = {key: given[key] for key in wanted if key in given and not _misfit(key, given[key], wanted[key])}
    misfits = {key: words for key in wanted if key in given and (words := _misfit(key, given[key], wanted[key]))}
    empty = tuple(key for key in misfits if not given[key].numel() and wanted[key].numel())
    misfits |= _torn(_shared(network), {key: tensor for key, tensor in state.items() if key not in misfits})
    missing = [key for key in wanted if key not in given and not key.endswith(COUNT)]
    unknown = [key for key in given if key not in wanted and not key.endswith(COUNT)]
    extra = _extra_of(network, table, prefix)
    absent, dropped = [], []
    others: dict[str, str] = {}
    for part, path in parts.items():
        under = f"{path}."
        if not any(key.startswith(under) for key in given):
            absent.append(part)
        elif words := _difference(under, misfits, missing, unknown):
            others[part] = words
            dropped += [key for key in given if key.startswith(under)]
        else:
            continue
        state = {key: tensor for key, tensor in state.items() if not key.startswith(under)}
        misfits = {key: words for key, words in misfits.items() if not key.startswith(under)}
        missing = [key for key in missing if not key.startswith(under)]
        unknown = [key for key in unknown if not key.startswith(under)]
    beside = [key for key in unknown if _lies_beside(key, network, parts)]
    kept = {id(tensor) for tensor in given.values()}
    place = " → ".join(part for part in (table.place, quoted(prefix) if prefix else "") if part)
    return Fit(
        place=place,
        state=state,
        total=sum(not key.endswith(COUNT) for key in wanted),
        absent=tuple(absent),
        others=others,
        missing=tuple(missing),
        unknown=tuple(key for key in unknown if key not in beside),
        misfits=tuple(misfits.values()),
        left_over=tuple(key for key in table.tensors if not key.startswith(prefix)) + tuple(beside),
        averaged=table.averaged or is_averaged(prefix),
        dropped=tuple(dropped),
        unused=tuple(key for key, tensor in inside.items() if id(tensor) not in kept and not key.endswith(COUNT)),
        inside=inside,
        frozen=any(key.endswith(COUNT) for key in wanted) and not any(key.endswith(COUNT) for key in state),
        empty=empty if any(key in misfits for key in empty) else (),
        left_out=_left_out(table, prefix, extra),
        extra=extra,
        notes=(*table.notes, *_folding_notes(folded, state), *_widening_notes(state)),
    )


def _left_out(table: Table, prefix: str, extra: Mapping[str, object]) -> dict[str, str]:
    return {
        key.removeprefix(prefix): why
        for key, why in table.left_out.items()
        if not (key.startswith(prefix) and key.removeprefix(prefix) in extra)
    }


def _extra_of(network: nn.Module, table: Table, prefix: str) -> dict[str, object]:
    """The extra state of modules that keep one: the network's key -> the value in the file."""
    if not table.extra:
        return {}
    known = {key for key in network.state_dict() if _is_extra(key)}
    found = {key.removeprefix(prefix): value for key, value in table.extra.items() if key.startswith(prefix)}
    return {key: value for key, value in found.items() if key in known}


def _folding_notes(folded: list[Fold], state: Mapping[str, Tensor]) -> list[str]:
    taken = {id(tensor) for tensor in state.values()}
    counts = Counter(fold.kind for fold in folded if id(fold.value) in taken)
    examples = {fold.kind: fold.key for fold in reversed(folded) if id(fold.value) in taken}
    return [
        f"{count} tensors of the file are {kind} (such as {quoted(examples[kind])}): their plain values were computed."
        if count > 1
        else f"A tensor of the file ({quoted(examples[kind])}) is {kind}: its plain values were computed."
        for kind, count in counts.items()
    ]


def _widening_notes(state: Mapping[str, Tensor]) -> list[str]:
    narrow = Counter(_dtype(tensor) for tensor in state.values() if tensor.dtype in NARROW)
    return [
        f"{count} tensors of the file are {dtype}, and were widened to the network's type."
        if count > 1
        else f"A tensor of the file is {dtype}, and was widened to the network's type."
        for dtype, count in narrow.items()
    ]


def _shared(network: nn.Module) -> dict[str, str]:
    """Keys of tensors that are in the network more than once -> the key under which they are first."""
    first: dict[int, str] = {}
    shared = {}
    for key, tensor in (
        *network.named_parameters(remove_duplicate=False),
        *network.named_buffers(remove_duplicate=False),
    ):
        if first.setdefault(id(tensor), key) != key:
            shared[key] = first[id(tensor)]
    return shared


def _torn(shared: Mapping[str, str], state: Mapping[str, Tensor]) -> dict[str, str]:
    """What is one tensor in the network and several in the file, of which all but one would be lost."""
    return {
        key: f"{key} is another tensor than {first}, where the network has one for both"
        for key, first in shared.items()
        if key in state and first in state and not _are_equal(state[key], state[first])
    }


def _are_equal(one: Tensor, other: Tensor) -> bool:
    return one is other or one.is_meta or torch.equal(one, other)


def _difference(under: str, misfits: Mapping[str, str], missing: list[str], unknown: list[str]) -> str:
    """How a part of the file is not the network's; "" where it is."""
    for key, words in misfits.items():
        if key.startswith(under):
            return words
    for key in missing:
        if key.startswith(under):
            return f"it has no {key}"
    return next((f"it has {quoted(key)} besides" for key in unknown if key.startswith(under)), "")


def _lies_beside(key: str, network: nn.Module, parts: Mapping[str, str]) -> bool:
    """Whether it is a neighbour of the network's modules rather than one within them, or one after another of a kind."""
    # The body of a network with a pyramid is the network that it was put on.
    body = parts["classifier"].rpartition(".")[0] if "pyramid" in parts and "classifier" in parts else ""
    name = key.removeprefix(f"{body}.") if body else key
    root = network.get_submodule(body) if name != key else network
    return not hasattr(root, name.partition(".")[0])


def _renamed(network: nn.Module, wanted: Mapping[str, Tensor], given: dict[str, Tensor]) -> dict[str, Tensor]:
    """`given` under the network's own keys, where it has those of others, or of an earlier version of itself."""
    if isinstance(network, Network):
        return network.renamed(given)
    if given.keys() <= wanted.keys():
        return given
    # Stand-ins, by which each tensor is known again under another key: torch's modules rename while they load.
    stand_ins: dict[str, Tensor] = {key: torch.empty(like.shape, device="meta") for key, like in given.items()}
    known = {id(stand_in): given[key] for key, stand_in in stand_ins.items()}
    keep = list(stand_ins.values())
    renamed = {_OLD_DENSENET.sub(r"\1\2", key): stand_in for key, stand_in in stand_ins.items()}
    for path, module in network.named_modules():
        _rename_as_loading_does(module, f"{path}." if path else "", renamed, wanted)
    found = {key: known[id(stand_in)] for key, stand_in in renamed.items() if id(stand_in) in known}
    del keep
    return found


def _rename_as_loading_does(
    module: nn.Module, prefix: str, state: dict[str, Tensor], wanted: Mapping[str, Tensor]
) -> None:
    """What this module does to the keys of its earlier versions, done to `state`."""
    load = type(module)._load_from_state_dict
    if load is nn.Module._load_from_state_dict or isinstance(module, nn.modules.batchnorm._NormBase):
        return
    # MNASNet takes a file without a version for one of its first, and makes itself into that.
    if not prefix or not any(key.startswith(prefix) and key not in wanted for key in state):
        return
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        load(module, state, prefix, {}, False, [], [], [])


def _misfit(key: str, given: Tensor, wanted: Tensor) -> str:
    """What is wrong with a tensor; "" where nothing is."""
    if given.shape != wanted.shape:
        return f"{key} is {_shape(given)} instead of {_shape(wanted)}"
    if given.dtype == wanted.dtype:
        return ""
    kinds: tuple[torch.dtype, ...] = INTEGERS
    if key.endswith(COUNT):
        # Where all of a network was halved, its counts were as well; nothing in a forward asks for them.
        kinds = INTEGERS + FLOATS
    elif wanted.is_floating_point():
        kinds = FLOATS
    elif wanted.is_complex():
        kinds = COMPLEX
    elif wanted.dtype == torch.bool:
        # Masks of torch before 1.2 are of bytes.
        kinds = (torch.uint8,)
    if given.dtype not in kinds:
        return f"{key} is {_dtype(given)} instead of {_dtype(wanted)}"
    return ""


def _shape(tensor: Tensor) -> str:
    sides = " × ".join(map(str, tensor.shape[:6])) or "a single number"
    return f"{sides} × …" if tensor.dim() > 6 else sides


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
