"""Whatever befalls an export: each name holds a whole old or a whole new file, and what is left over goes at the next start."""

from __future__ import annotations

import ctypes
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fmviz.errors import ExportError
from fmviz.strays import aside, remove_strays
from fmviz.writing import write_whole

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the kills and the mounts are those of POSIX")

moments = pytest.importorskip("moments")


@pytest.fixture(scope="module")
def generations(tmp_path_factory: pytest.TempPathFactory) -> moments.Generations:
    return moments.Generations.made(tmp_path_factory.mktemp("generations"))


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many moments an export has."""
    folder = tmp_path_factory.mktemp("steps")
    for _ in range(2):
        # The first one also looks for strays.
        with moments.Steps() as counted:
            moments.export_all(2, folder)
    assert counted.count > 100
    return counted.count


@pytest.fixture(scope="module")
def rounds(long: bool) -> int:
    return 1000 if long else 200


def asides(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(moments.ASIDE)]


# Killed


class Warm:
    """A process that has all that an export needs, and forks one for each kill."""

    def __init__(self) -> None:
        command = [sys.executable, moments.__file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def exported(self, folder: Path, *, at: int = 0, seconds: float = 0.0) -> int:
        """How an export ended that was killed there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(folder), at, seconds]) + "\n")
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.communicate()[0] == ""
        assert self._process.returncode == 0


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    process = Warm()
    yield process
    process.close()


@pytest.mark.parametrize("by", ["step", "time"])
def test_killed(warm, generations, steps, rounds, by, tmp_path):
    folder, chosen = tmp_path / "maps", random.Random(f"killed by {by}")
    generations.put(folder)
    begun = time.monotonic()
    assert warm.exported(folder) == 0
    lasts = time.monotonic() - begun
    killed = strays = 0
    for _ in range(rounds // 2):
        generations.put(folder)
        when = {"at": chosen.randint(1, steps)} if by == "step" else {"seconds": chosen.uniform(0.0, lasts)}
        begun = time.monotonic()
        ended = warm.exported(folder, **when)
        if not ended:
            # The first may have been slow, and those that are to be killed would all be over before.
            lasts = min(lasts, time.monotonic() - begun)
        assert ended in (0, -signal.SIGKILL)
        killed += ended != 0
        strays += len(asides(folder))
        generations.check(folder)
    # Most are killed in the middle, and some while a file is on its way: else this tests nothing.
    assert killed > rounds // 5
    assert strays > (rounds // 20 if by == "step" else 0)
    while not asides(folder):
        generations.put(folder)
        warm.exported(folder, at=chosen.randint(1, steps))
    assert warm.exported(folder) == 0
    generations.check_new(folder)


def test_only_strays_are_removed(tmp_path):
    name = f".fmviz-{'0' * 32}.part"
    others = [".fmviz-notes.part", f".fmviz-{'0' * 31}g.part", f"fmviz-{'0' * 32}.part", f"{name}x", "cat.png.part"]
    for other in others:
        (tmp_path / other).write_bytes(b"mine")
    (tmp_path / name.replace("0", "1")).mkdir()
    (tmp_path / name.replace("0", "2")).symlink_to(tmp_path / "cat.png.part")
    os.mkfifo(tmp_path / name.replace("0", "3"))
    (tmp_path / name).write_bytes(b"half")
    before = set(os.listdir(tmp_path))
    assert remove_strays(tmp_path) == 1
    assert set(os.listdir(tmp_path)) == before - {name}
    assert remove_strays(tmp_path / "missing") == 0
    assert remove_strays(tmp_path / "cat.png.part") == 0


def test_what_another_is_writing_is_no_stray(tmp_path):
    code = (
        "import sys, pathlib, fmviz.writing as w\n"
        "def write(file):\n"
        "    file.write(b'new'); file.flush(); print('writing', flush=True); sys.stdin.read(1)\n"
        "w.write_whole(pathlib.Path(sys.argv[1]), write)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        assert remove_strays(tmp_path) == 0
        write_whole(tmp_path / "b.png", lambda file: file.write(b"ours"))
        assert len(asides(tmp_path)) == 1
        writer.communicate(b"\n")
        assert writer.returncode == 0
    assert (tmp_path / "a.png").read_bytes() == b"new"
    with aside(tmp_path) as (place, file):
        # Closed, and not yet in its place.
        file.close()
        assert remove_strays(tmp_path) == 0
        os.replace(place, tmp_path / "a.png")
    assert sorted(os.listdir(tmp_path)) == ["a.png", "b.png"]


# Befallen by something else


def befallen(generations, folder: Path, at: int, blow: Callable[[], object]) -> str:
    """Exports over the old files, with `blow` at that step; what was said of it, "" where it succeeded."""
    generations.put(folder)
    try:
        with moments.Steps(at, blow):
            moments.export_all(2, folder)
    except ExportError as error:
        text = str(error)
        assert len(text.splitlines()) == 1
        assert text.endswith(".")
        return text
    return ""


_libc = ctypes.CDLL(None, use_errno=True)
_BIND, _REMOUNT, _READ_ONLY, _DETACH = 4096, 32, 1, 2


def _mount(source: str, target: Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    words = (source.encode(), os.fsencode(target), kind.encode() or None, flags, data.encode() or None)
    if _libc.mount(*words):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def mounts(folder: Path) -> Iterator[None]:
    """Takes away what is mounted there; skips where nothing may be."""
    try:
        _mount("tmpfs", folder, "tmpfs", data="size=512k")
    except OSError as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    try:
        yield
    finally:
        _libc.umount2(os.fsencode(folder), _DETACH)


def test_the_disk_fills_up(generations, steps, rounds, tmp_path):
    chosen, folder, said = random.Random("full"), tmp_path / "disk" / "maps", set()
    folder.parent.mkdir()
    filler = folder.parent / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    with mounts(folder.parent):
        for _ in range(rounds // 4):
            said.add(befallen(generations, folder, chosen.randint(1, steps), fill).partition(": ")[2])
            assert not asides(folder)
            generations.check(folder)
            filler.unlink(missing_ok=True)
        moments.export_all(2, folder)
        generations.check_new(folder)
    assert said - {""} == {"the disk is full; make room on it or choose another folder."}


def test_files_may_not_grow(generations, steps, rounds, tmp_path):
    chosen, folder = random.Random("limit"), tmp_path / "maps"
    said, limits = set(), resource.getrlimit(resource.RLIMIT_FSIZE)
    for _ in range(rounds // 4):
        most = chosen.choice([0, 1, 100, 1000])
        try:
            limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))  # noqa: B023, E731
            said.add(befallen(generations, folder, chosen.randint(1, steps), limit).partition(": ")[2])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert not asides(folder)
        generations.check(folder)
    assert said - {""} == {"File too large; choose another folder."}


def test_the_folder_becomes_read_only(generations, steps, rounds, tmp_path):
    chosen, folder, said, strays = random.Random("read-only"), tmp_path / "maps", set(), 0
    folder.mkdir()

    def forbid() -> None:
        _mount(str(folder), folder, flags=_BIND)
        _mount("", folder, flags=_BIND | _REMOUNT | _READ_ONLY)

    with mounts(folder):
        for _ in range(rounds // 4):
            try:
                said.add(befallen(generations, folder, chosen.randint(1, steps), forbid).partition(": ")[2])
            finally:
                _libc.umount2(os.fsencode(folder), _DETACH)
            assert os.path.ismount(folder)
            strays += len(asides(folder))
            generations.check(folder)
            remove_strays(folder)
            assert not asides(folder)
    assert said - {""} == {"that disk can only be read; choose another folder."}
    assert strays


@pytest.mark.parametrize("how", ["moved", "removed"])
def test_the_folder_vanishes(generations, steps, rounds, how, tmp_path):
    chosen, folder, elsewhere = random.Random(how), tmp_path / "maps", tmp_path / "elsewhere"
    said = set()
    for _ in range(rounds // 8):
        go = (lambda: os.rename(folder, elsewhere)) if how == "moved" else (lambda: shutil.rmtree(folder))
        said.add(befallen(generations, folder, chosen.randint(1, steps), go).partition(": ")[2])
        if how == "moved":
            generations.check(elsewhere)
            remove_strays(elsewhere)
            assert not asides(elsewhere)
        # The next form of file may have made the folder again.
        for place in (folder, elsewhere):
            shutil.rmtree(place, ignore_errors=True)
    assert said - {""} == {f"the folder {folder} is not there; choose another folder."}


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_name_exists(generations, steps, rounds, what, tmp_path):
    chosen, folder, said = random.Random(what), tmp_path / "maps", set()
    for _ in range(rounds // 8):
        name = chosen.choice(sorted(generations.new))

        def take() -> None:
            (folder / name).unlink(missing_ok=True)  # noqa: B023
            if what == "file":
                (folder / name).write_bytes(b"mine")  # noqa: B023
            else:
                (folder / name).mkdir()  # noqa: B023
                (folder / name / "mine").write_bytes(b"mine")  # noqa: B023

        told = befallen(generations, folder, chosen.randint(1, steps), take)
        assert not told or told.startswith(f"{name} could not be written: ")
        said.add(told.partition(": ")[2])
        assert not asides(folder)
        generations.check(folder, besides=name)
        if what == "folder":
            assert os.listdir(folder / name) == ["mine"]
            shutil.rmtree(folder / name)
        elif (data := (folder / name).read_bytes()) != b"mine":
            assert moments.content(data, name) == generations.new[name]
    # A file of that name is replaced; a folder stays.
    refused = "a folder has this name; rename that folder or choose another one."
    assert said - {""} == (set() if what == "file" else {refused})


@pytest.mark.parametrize("to", ["a file", "a folder", "nothing", "itself"])
def test_a_link_is_in_the_way(generations, steps, rounds, to, tmp_path):
    chosen, folder, elsewhere = random.Random(to), tmp_path / "maps", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_bytes(b"mine")
    targets = {"a file": elsewhere / "mine", "a folder": elsewhere, "nothing": elsewhere / "nothing"}
    replaced = 0
    for _ in range(rounds // 8):
        name = chosen.choice(sorted(generations.new))

        def lead_astray() -> None:
            (folder / name).unlink(missing_ok=True)  # noqa: B023
            (folder / name).symlink_to(targets.get(to, folder / name))  # noqa: B023

        assert not befallen(generations, folder, chosen.randint(1, steps), lead_astray)
        assert not asides(folder)
        generations.check(folder, besides=name)
        if not (folder / name).is_symlink():
            replaced += 1
            assert moments.content((folder / name).read_bytes(), name) == generations.new[name]
        # Nothing is ever written through it.
        assert os.listdir(elsewhere) == ["mine"]
        assert (elsewhere / "mine").read_bytes() == b"mine"
    assert replaced
