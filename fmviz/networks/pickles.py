"""What a pickle would do, read without doing any of it.

torch's reader with `weights_only=True` calls nothing but a short list of functions. Even those can be asked for a terabyte
of memory, to look a codec up by name, or for a tensor that is larger than its storage; and it stops at the first name that
it does not know. So a pickle is gone through here first, with names in the place of functions: nothing is imported, called
or allocated. What torch then reads asks for known functions only, for no more memory than the file has bytes, and for no
tensor that its storage cannot hold.
"""

from __future__ import annotations

import _compat_pickle
import pickletools
import re
import warnings
from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import Any

import msgspec

DEEPEST = 64
"""Tuples within tuples at most: hashing one that is a million deep ends the process."""

STORAGES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
    "ComplexDoubleStorage": 16,
    "ComplexFloatStorage": 8,
    "UntypedStorage": 1,
}
"""Bytes of an element, by the name of the storage in torch, torch.cuda or torch.storage."""

_NAMED_ONLY = ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.Size", "_codecs.encode")
_DTYPE = re.compile(r"(b?float|q?u?int|complex)\d\w*|bool|double|float|half|int|long|short")
_CALLED = (
    "collections.OrderedDict",
    "collections.Counter",
    "builtins.set",
    "builtins.complex",
    "torch.device",
    "torch.serialization._get_layout",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_sparse_tensor",
)
_REBUILT = {f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")}


class PickleError(Exception):
    """A pickle that is broken, or that declares what it does not hold."""


class Name(msgspec.Struct, frozen=True):
    """A class or function that a pickle asks for, by module and name."""

    path: str


class Storage(msgspec.Struct, frozen=True):
    """The numbers of one or more tensors, kept beside the pickle under `key`."""

    key: str
    itemsize: int
    numel: int

    @property
    def nbytes(self) -> int:
        return self.itemsize * self.numel


class _Made(msgspec.Struct, frozen=True):
    """What calling `by` gave, of which no more need be known; "" for a list, a dictionary and the like."""

    by: str = ""


_MARK = object()
_FLAT = (None, 0)
_OTHERS = {"MARK", "EMPTY_TUPLE", "GET", "BINGET", "LONG_BINGET", "GLOBAL"}
_PUSHED = {
    opcode.name
    for opcode in pickletools.opcodes
    if not opcode.stack_before and len(opcode.stack_after) == 1 and opcode.name not in _OTHERS
}
"""Those that put their argument on the stack, and do nothing else."""


@dataclass(frozen=True, slots=True)
class Pickle:
    """What a pickle would do.

    Attributes:
        unsafe: classes and functions that it asks for and that weights have no use for, by name.
        storages: what it reads from beside itself, by key.
        end: bytes from where it began to where the next thing in the file begins.
    """

    unsafe: tuple[str, ...]
    storages: dict[str, Storage]
    end: int


def scan(data: BytesIO) -> Pickle:
    """Goes through the pickle that begins where `data` stands, and leaves `data` behind it.

    Raises:
        PickleError: it is broken, or would make what it has no bytes for.
    """
    begin = data.tell()
    reader = _Reader()
    try:
        # It warns of odd escapes in a text.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for opcode, argument, _ in pickletools.genops(data):
                reader.step(opcode, argument)
    # What pickletools raises at a file made of anything is not told by its documentation.
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise PickleError(str(error)) from error
    return Pickle(tuple(sorted(reader.unsafe)), reader.storages, data.tell() - begin)


def read_texts(data: BytesIO) -> set[str]:
    """The texts in a pickle of a list of them and nothing else, as torch's older format ends its pickles with.

    Raises:
        PickleError: it is something else.
    """
    names, texts = [], set()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if not opcode.name.startswith(("PROTO", "BINPUT", "LONG_BINPUT", "MARK")):
                names.append(opcode.name)
            if isinstance(argument, str):
                texts.add(argument)
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise PickleError(str(error)) from error
    wanted = {"BINUNICODE", "SHORT_BINSTRING", "APPEND", "APPENDS"}
    if names[:1] != ["EMPTY_LIST"] or not set(names[1:-1]) <= wanted or not names[-2].startswith(("APPEND", "EMPTY")):
        raise PickleError("it is no list of texts")
    return texts


class _Reader:
    """A pickle's stack, with names, numbers, texts and tuples as they are, and everything else as a `_Made`."""

    def __init__(self) -> None:
        self.unsafe: set[str] = set()
        self.storages: dict[str, Storage] = {}
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        # By identity, of those that are alive on the stack or in the memo: the tuples are never taken apart here.
        self._depths: dict[int, tuple[Any, int]] = {}

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        name = opcode.name
        # Nine in ten of a checkpoint's are these, and the first that follow.
        if name in _PUSHED:
            self._stack.append(argument if isinstance(argument, int | str | bytes) else _Made())
            return
        match name:
            case "LONG_BINPUT" | "BINPUT" | "PUT":
                self._memo[argument] = self._top()
            case "BINGET" | "LONG_BINGET" | "GET":
                self._stack.append(self._memo[argument])
            case "MARK":
                self._stack.append(_MARK)
            case "TUPLE":
                self._push_tuple(self._popped_to_mark())
            case "EMPTY_TUPLE":
                self._push_tuple([])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                self._push_tuple([self._pop() for _ in range(count)][::-1])
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._top()
            case "DUP":
                self._stack.append(self._top())
            case "GLOBAL":
                self._stack.append(self._named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                leaf, module = self._pop(), self._pop()
                self._stack.append(self._named(str(module), str(leaf)))
            case "INST":
                self._popped_to_mark()
                self._stack.append(self._called(self._named(*argument.split(" ", 1)), ()))
            case "REDUCE" | "NEWOBJ":
                arguments, function = self._pop(), self._pop()
                self._stack.append(self._called(function, arguments))
            case "NEWOBJ_EX":
                self._pop()
                arguments, function = self._pop(), self._pop()
                self._stack.append(self._called(function, arguments))
            case "OBJ":
                function, *rest = self._popped_to_mark()
                self._stack.append(self._called(function, tuple(rest)))
            case "APPEND" | "SETITEM":
                for _ in range(1 + (name == "SETITEM")):
                    self._pop()
                self._top()
            case "APPENDS" | "SETITEMS" | "ADDITEMS":
                self._popped_to_mark()
                self._top()
            case "BUILD":
                self._pop()
                self._built(self._top())
            case "BINPERSID":
                self._stack.append(self._storage(self._pop()))
            case _:
                self._step_over(opcode, argument)

    def _step_over(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Any other: what it takes is forgotten, and what it puts there is its argument, or nothing that matters."""
        if pickletools.stackslice in opcode.stack_before:
            self._popped_to_mark()
            taken = opcode.stack_before[: opcode.stack_before.index(pickletools.markobject)]
        else:
            taken = opcode.stack_before
        for _ in taken:
            self._pop()
        self._stack.extend(argument if isinstance(argument, int | str | bytes) else _Made() for _ in opcode.stack_after)

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise PickleError("the stack is empty")
        return self._stack[-1]

    def _pop(self) -> Any:
        top = self._top()
        self._stack.pop()
        return top

    def _popped_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while self._stack and self._stack[-1] is not _MARK:
            items.append(self._stack.pop())
        if not self._stack:
            raise PickleError("there is no mark")
        self._stack.pop()
        return items[::-1]

    def _push_tuple(self, items: list[Any]) -> None:
        made = tuple(items)
        depth = 1
        for item in items:
            _, below = self._depths.get(id(item), _FLAT)
            depth = max(depth, below + 1)
        if depth > DEEPEST:
            raise PickleError("it is nested too deeply")
        self._depths[id(made)] = (made, depth)
        self._stack.append(made)

    def _named(self, module: str, name: str) -> Name:
        module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
        module = _compat_pickle.IMPORT_MAPPING.get(module, module)
        found = Name(f"{module}.{name}")
        if not _is_known(found.path):
            self.unsafe.add(found.path)
        return found

    def _called(self, function: Any, arguments: Any) -> Any:
        """What comes of calling a function of the short list with what a writer of weights gives it."""
        if not isinstance(function, Name):
            raise PickleError("it calls what is no function")
        path = function.path
        if path in self.unsafe:
            return _Made(path)
        if not isinstance(arguments, tuple):
            raise PickleError("it calls a function without a tuple of arguments")
        if path == "torch.Size" and len(arguments) == 1 and isinstance(arguments[0], tuple):
            return arguments[0]
        if path == "torch._tensor._rebuild_from_type_v2" and len(arguments) == 4:
            return self._called(arguments[0], arguments[2])
        if path in _REBUILT:
            _check_tensor(path, arguments)
        elif path == "_codecs.encode" and len(arguments) == 2:
            # Any other codec would be looked up, and imported, by its name.
            if arguments[1] not in ("latin1", "latin-1"):
                self.unsafe.add(path)
        elif path not in _CALLED:
            self.unsafe.add(path)
        return _Made(path)

    def _built(self, thing: Any) -> None:
        if not isinstance(thing, _Made):
            raise PickleError("it gives a state to what has none")
        # A tensor's would be set anew, past all that was checked.
        if thing.by != "collections.OrderedDict" and thing.by not in self.unsafe:
            raise PickleError(f"it gives a state to what {thing.by or 'it'} made")

    def _storage(self, reference: Any) -> Storage | _Made:
        if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] not in ("storage", b"storage"):
            raise PickleError("it refers to something that is no storage")
        kind, key, numel = reference[1], str(reference[2]), reference[4]
        itemsize = STORAGES.get(kind.path.rpartition(".")[2]) if isinstance(kind, Name) else None
        if len(reference) > 5 and isinstance(reference[5], tuple):
            raise PickleError("it has views of storages, which torch before 0.4 wrote")
        if itemsize is None or type(numel) is not int or numel < 0:
            raise PickleError("it refers to a storage that is none")
        storage = Storage(key, itemsize, numel)
        if self.storages.setdefault(key, storage) != storage:
            raise PickleError(f"it refers to the storage {key} in two ways")
        return storage


def _check_tensor(path: str, arguments: tuple[Any, ...]) -> None:
    """`PickleError` where the storage, in its own type, does not hold the tensor: torch would make it larger."""
    storage, offset, size, stride = arguments[:4]
    numbers = (*size, *stride, offset)
    if not isinstance(storage, Storage) or any(type(number) is not int or number < 0 for number in numbers):
        raise PickleError("a tensor is made of something else than numbers")
    # Version 3 names the type beside an untyped storage, whose elements are bytes.
    width = _width(arguments[6]) if path.endswith("_v3") else 1
    last = offset + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if prod(size) and (last + 1) * width > storage.numel:
        raise PickleError("a tensor is larger than its storage")


def _width(dtype: Any) -> int:
    """Bytes of an element of "torch.float8_e4m3fn" and the like."""
    bits = re.search(r"\d+", dtype.path) if isinstance(dtype, Name) else None
    return max(1, int(bits[0]) // 8) if bits else 8


def _is_known(path: str) -> bool:
    module, _, leaf = path.rpartition(".")
    if path in (*_NAMED_ONLY, *_CALLED, *_REBUILT, "torch._tensor._rebuild_from_type_v2"):
        return True
    if module in ("torch", "torch.cuda", "torch.storage") and leaf in STORAGES:
        return True
    return module == "torch" and _DTYPE.fullmatch(leaf) is not None
