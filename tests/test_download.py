"""Fetching weights from servers that are slow, cut off, lie, send other things, point elsewhere, refuse, or say nothing."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import types
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import CONTENT, Handler, offer, ranged, serving, whole

from fmviz.errors import Cancelled, DownloadError
from fmviz.networks import cache, connection, download
from fmviz.networks.connection import NotServed, Timeouts, check_address
from fmviz.networks.download import Fetching, fetch
from fmviz.networks.kept import listed

AT_ONCE = (0.0, 0.0, 0.0)
HALF = len(CONTENT) // 2


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A cache of its own for each test, and no proxy but the test's own."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


def get(what, *, cancelled=lambda: False, progress=lambda fetching: None, pauses=AT_ONCE, timeouts=None) -> Path:
    return fetch(what, progress=progress, cancelled=cancelled, pauses=pauses, timeouts=timeouts)


def refusal(what, **options) -> str:
    """The sentence with which `what` is not fetched; nothing is in its place then."""
    with pytest.raises(DownloadError) as caught:
        get(what, **options)
    sentence = str(caught.value)
    assert sentence.startswith(what.file_name)
    assert sentence.endswith(".")
    assert not cache.is_here(what)
    return sentence


def files() -> list[str]:
    """What is in the cache when all that was thrown away is gone."""
    for thread in threading.enumerate():
        if thread.name == download.THROWING_AWAY:
            thread.join()
    return sorted(os.listdir(cache.folder()))


def kept(what, content: bytes) -> None:
    """As if a fetch had been cut off after `content`."""
    cache.folder().mkdir(parents=True, exist_ok=True)
    cache.part_of(what).write_bytes(content)


# What goes well


def test_a_file_is_put_in_its_place_and_nothing_beside_it():
    with serving(whole) as server:
        path = get(offer(server.url))
    assert path == cache.path_of(offer(server.url))
    assert path.read_bytes() == CONTENT
    assert files() == ["weights.pth"]


def test_its_progress_begins_with_nothing_and_ends_with_all():
    seen: list[Fetching] = []
    with serving(whole) as server:
        get(offer(server.url), progress=seen.append)
    assert seen[0] == Fetching(0, None, 0.0, None)
    assert (seen[-1].done, seen[-1].total) == (len(CONTENT), len(CONTENT))
    assert [one.done for one in seen] == sorted(one.done for one in seen)


def test_progress_is_told_ten_times_a_second_with_the_speed_of_the_last_seconds(monkeypatch):
    clock = 0.0
    monkeypatch.setattr(download, "time", types.SimpleNamespace(monotonic=lambda: clock))
    seen: list[Fetching] = []
    teller = download._Teller(seen.append)
    for step in range(10_000):
        clock = step / 1000
        # A hundred bytes a millisecond, and from the fifth second on ten.
        teller.tell(100 * min(step, 5000) + 10 * max(step - 5000, 0), 1_000_000)
    assert 90 <= len(seen) <= 101
    assert seen[40].speed == pytest.approx(100_000)
    assert seen[-1].speed == pytest.approx(10_000)
    assert seen[-1].left == pytest.approx((1_000_000 - seen[-1].done) / 10_000)


def test_a_file_that_is_here_is_not_fetched_again():
    with serving(whole) as server:
        first = get(offer(server.url))
        assert get(offer(server.url)) == first
        assert len(server.asked) == 1


def test_a_file_that_is_here_but_was_cut_off_is_fetched_anew():
    with serving(whole) as server:
        what = offer(server.url)
        cache.folder().mkdir(parents=True)
        cache.path_of(what).write_bytes(CONTENT[:100])
        assert get(what).read_bytes() == CONTENT
        assert len(server.asked) == 1


def test_a_slow_server_is_waited_for_and_what_came_is_told_as_it_comes():
    told = threading.Semaphore(0)
    seen: list[Fetching] = []

    def answer(handler: Handler) -> None:
        handler.start(Content_Length=len(CONTENT))
        for start in range(0, len(CONTENT), HALF // 2):
            handler.send(CONTENT[start : start + HALF // 2])
            # The next quarter when the last one has been seen; no end of the answer, no full buffer brings it there.
            told.acquire()

    def progress(fetching: Fetching) -> None:
        if fetching.done and not fetching.done % (HALF // 2) and fetching.done != (seen[-1].done if seen else 0):
            told.release()
        seen.append(fetching)

    with serving(answer) as server:
        assert get(offer(server.url), progress=progress).read_bytes() == CONTENT
    assert {HALF // 2, HALF, HALF + HALF // 2} <= {one.done for one in seen}


def test_speed_goes_down_while_nothing_comes():
    speeds: list[float] = []

    def progress(fetching: Fetching) -> None:
        if fetching.done:
            speeds.append(fetching.speed)

    with serving(sends_half_and_says_no_more) as server, pytest.raises(Cancelled):
        get(offer(server.url), progress=progress, cancelled=lambda: len(speeds) == 4)
    assert speeds[-1] < speeds[-2] < speeds[-3]


def test_a_length_that_the_server_does_not_say_is_not_needed():
    def answer(handler: Handler) -> None:
        handler.start()
        handler.send(CONTENT)

    seen: list[Fetching] = []
    with serving(answer) as server:
        assert get(offer(server.url), progress=seen.append).read_bytes() == CONTENT
    assert seen[1].total is None
    assert seen[1].left is None


def test_neither_fetching_nor_the_cache_needs_torch(python):
    code = "import sys, fmviz.networks.download, fmviz.weights_command; assert 'torch' not in sys.modules"
    subprocess.run([*python, "-c", code], check=True, timeout=60)


# Breaks


def test_after_a_break_it_goes_on_from_there():
    def answer(handler: Handler) -> None:
        ranged(handler, upto=None if handler.wanted() else HALF)

    with serving(answer) as server:
        assert get(offer(server.url)).read_bytes() == CONTENT
    assert [asked.get("Range") for asked in server.asked] == [None, f"bytes={HALF}-"]
    assert server.asked[1]["If-Range"] == '"1"'


def test_what_came_is_kept_after_the_last_try_and_the_next_fetch_goes_on_from_there():
    def answer(handler: Handler) -> None:
        ranged(handler, upto=handler.wanted() + 10_000 if len(server.asked) < 5 else None)

    with serving(answer) as server:
        what = offer(server.url)
        assert "40.0 kB came and are kept" in refusal(what)
        assert len(server.asked) == 1 + len(AT_ONCE)
        assert cache.part_of(what).read_bytes() == CONTENT[:40_000]
        (row,) = listed()
        assert not row.whole
        assert get(what).read_bytes() == CONTENT
    assert server.asked[-1]["Range"] == "bytes=40000-"
    assert files() == ["weights.pth"]


def test_tries_are_counted_anew_where_one_brings_it_on(monkeypatch):
    monkeypatch.setattr(download, "ENOUGH", 10_000)
    with serving(lambda handler: ranged(handler, upto=handler.wanted() + 10_000)) as server:
        assert get(offer(server.url)).read_bytes() == CONTENT
    assert len(server.asked) > 20


def test_a_server_that_only_sends_all_is_asked_for_all():
    with serving(whole) as server:
        what = offer(server.url)
        kept(what, CONTENT[:1000])
        assert get(what).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_server_that_has_no_bytes_from_there_on_is_asked_for_all():
    def answer(handler: Handler) -> None:
        handler.start(416, Content_Length=0) if handler.wanted() else whole(handler)

    with serving(answer) as server:
        what = offer(server.url)
        kept(what, CONTENT[:1000])
        assert get(what).read_bytes() == CONTENT
    assert [asked.get("Range") for asked in server.asked] == ["bytes=1000-", None]


def test_a_server_that_sends_another_part_is_asked_for_all():
    def answer(handler: Handler) -> None:
        if not handler.wanted():
            return whole(handler)
        handler.start(206, Content_Length=10, Content_Range=f"bytes 5-14/{len(CONTENT)}")
        return handler.send(CONTENT[5:15])

    with serving(answer) as server:
        what = offer(server.url)
        kept(what, CONTENT[:1000])
        assert get(what).read_bytes() == CONTENT


def test_a_beginning_that_belongs_to_another_file_is_thrown_away():
    with serving(ranged) as server:
        what = offer(server.url)
        kept(what, b"another file" * 100)
        assert get(what).read_bytes() == CONTENT
    assert [asked.get("Range") for asked in server.asked] == ["bytes=1200-", None]


def test_a_beginning_that_is_all_of_it_is_not_fetched_again():
    with serving(whole) as server:
        what = offer(server.url)
        kept(what, CONTENT)
        assert get(what).read_bytes() == CONTENT
        assert not server.asked


def test_pieces_of_a_wrong_file_are_not_fetched_for_ever():
    wrong = bytes(len(CONTENT))
    with serving(lambda handler: ranged(handler, wrong, None if handler.wanted() else HALF)) as server:
        assert "checksum" in refusal(offer(server.url))
    assert len(server.asked) == 4
    assert files() == []


# Lies


def test_a_length_that_is_too_long_does_no_harm_where_the_file_is_right():
    def answer(handler: Handler) -> None:
        handler.start(Content_Length=len(CONTENT) + 1000)
        handler.send(CONTENT)

    with serving(answer) as server:
        assert get(offer(server.url)).read_bytes() == CONTENT


def test_a_length_that_is_too_long_ends_in_a_sentence_where_the_file_is_wrong():
    def answer(handler: Handler) -> None:
        handler.start(Content_Length=len(CONTENT))
        handler.send(CONTENT[:1000])

    with serving(answer) as server:
        assert "was cut" in refusal(offer(server.url))
        assert len(server.asked) == 1 + len(AT_ONCE)


def test_a_length_that_is_too_short_is_found_by_the_checksum():
    def answer(handler: Handler) -> None:
        handler.start(Content_Length=1000)
        handler.send(CONTENT)

    with serving(answer) as server:
        assert "checksum" in refusal(offer(server.url))
    assert files() == []


def test_a_length_far_beyond_that_of_the_file_is_refused_before_anything_is_taken():
    def answer(handler: Handler) -> None:
        handler.start(Content_Length=10**12)
        server.silence.wait()

    with serving(answer) as server:
        sentence = refusal(offer(server.url))
        assert "sends 1000.0 GB" in sentence
        assert "should be 262.1 kB" in sentence
    assert files() == []


def test_a_server_that_never_stops_is_left():
    def answer(handler: Handler) -> None:
        handler.start()
        while not server.silence.is_set():
            handler.send(CONTENT)

    with serving(answer) as server:
        assert "where it should be 262.1 kB" in refusal(offer(server.url))
    assert files() == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (bytes(len(CONTENT)), "checksum"),
        (b"<!DOCTYPE html><html>Log in to the hotel's network</html>", "web page"),
        (b"", "checksum"),
    ],
    ids=["bytes", "page", "nothing"],
)
def test_what_is_not_the_file_is_deleted(body, words):
    with serving(lambda handler: whole(handler, body)) as server:
        assert words in refusal(offer(server.url))
    assert files() == []


def test_what_is_no_http_at_all_ends_in_a_sentence():
    with serving(lambda handler: handler.send(b"220 mail.example.org ESMTP\r\n" * 3)) as server:
        assert "could not be fetched" in refusal(offer(server.url))


@given(
    serves=st.lists(st.tuples(st.integers(0, 4000), st.booleans(), st.booleans(), st.integers(-50, 50)), max_size=6),
    beginning=st.sampled_from([b"", CONTENT[:10], CONTENT[:2999], CONTENT[:3000], CONTENT[:3500], b"x" * 50]),
)
def test_whatever_a_server_does_the_file_is_right_or_not_there(serves, beginning):
    """Each connection in turn: how many bytes it sends, whether it minds the range, whether they are right, how far its
    length is off."""
    content = CONTENT[:3000]
    plan = iter(serves)

    def answer(handler: Handler) -> None:
        count, minds, right, off = next(plan, (4000, True, True, 0))
        start = handler.wanted() if minds else 0
        body = (content if right else bytes(3000))[start:]
        status = 206 if start else 200
        handler.start(status, Content_Length=max(len(body) + off, 0), Content_Range=f"bytes {start}-2999/{3000 + off}")
        handler.send(body[:count])

    with serving(answer) as server:
        what = offer(server.url, content)
        cache.path_of(what).unlink(missing_ok=True)
        kept(what, beginning)
        try:
            assert get(what).read_bytes() == content
            assert files() == ["weights.pth"]
        except DownloadError:
            assert not cache.is_here(what)
        cache.part_of(what).unlink(missing_ok=True)


# Elsewhere


def test_redirects_are_followed():
    def answer(handler: Handler) -> None:
        if handler.path == "/weights.pth":
            handler.start(302, Location="/elsewhere", Content_Length=0)
        elif handler.path == "/elsewhere":
            handler.start(308, Location=server.url.replace("weights.pth", "here"), Content_Length=0)
        else:
            ranged(handler)

    with serving(answer) as server:
        what = offer(server.url)
        kept(what, CONTENT[:1000])
        assert get(what).read_bytes() == CONTENT
    assert server.paths == ["/weights.pth", "/elsewhere", "/here"]
    assert {asked["Range"] for asked in server.asked} == {"bytes=1000-"}


def test_redirects_without_end_are_left():
    with serving(lambda handler: handler.start(301, Location=handler.path + "x", Content_Length=0)) as server:
        assert "without end" in refusal(offer(server.url))
    assert len(server.asked) == 1 + connection.REDIRECTS


@pytest.mark.parametrize("target", ["http://192.0.2.1/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "//192.0.2.1/x"])
def test_redirects_to_what_others_can_read_are_refused(target):
    with serving(lambda handler: handler.start(302, Location=target, Content_Length=0)) as server:
        assert "not safe" in refusal(offer(server.url))
    assert len(server.asked) == 1


def test_nothing_is_asked_for_over_http_but_from_this_computer(monkeypatch):
    def connects(*arguments: object, **options: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket, "getaddrinfo", connects)
    for url in ("http://download.pytorch.org/x.pth", "http://127.0.0.1.example.org/x", "ftp://localhost/x", "/x"):
        assert "not safe" in refusal(offer(url))


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "http://localhost:80/x", "http://[::1]/x"])
def test_from_https_no_way_leads_back_to_http(url):
    check_address(url)
    check_address(url, before="http://127.0.0.1/y")
    with pytest.raises(NotServed, match="not safe"):
        check_address(url, before="https://127.0.0.1/y")


# Refused


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "password"),
        (403, "not allow"),
        (404, "does not have it"),
        (418, "418"),
        (429, "too often"),
        (500, "fault"),
        (503, "overloaded"),
    ],
)
def test_a_server_that_refuses_is_quoted_in_words(status, words):
    with serving(lambda handler: handler.start(status, Content_Length=0)) as server:
        sentence = refusal(offer(server.url))
    assert words in sentence
    assert str(status) in sentence
    assert len(server.asked) == 1
    assert files() == []


def test_a_server_that_takes_no_connection_is_told():
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    assert "takes no connections" in refusal(offer(f"http://127.0.0.1:{port}/weights.pth"))


@pytest.mark.parametrize(
    "error", [socket.gaierror(socket.EAI_AGAIN, "try again"), OSError(errno.ENETUNREACH, "Network is unreachable")]
)
def test_offline_is_said_at_once(error, monkeypatch):
    tries = []

    def looks_up(*arguments: object, **options: object) -> None:
        tries.append(arguments)
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", looks_up)
    assert "you are offline" in refusal(offer("https://download.pytorch.org/models/weights.pth"), pauses=(60.0,))
    assert len(tries) == 1
    assert files() == []


def test_offline_in_between_is_waited_for(monkeypatch):
    look_up = socket.getaddrinfo
    lookups = []

    def looks_up(*arguments, **options):
        lookups.append(arguments)
        if len(lookups) == 2:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        return look_up(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", looks_up)
    with serving(lambda handler: ranged(handler, upto=None if handler.wanted() else HALF)) as server:
        assert get(offer(server.url)).read_bytes() == CONTENT
    assert len(lookups) == 3


@pytest.mark.parametrize("what", [{"url": ""}, {"sha256": ""}], ids=["packaged", "unchecked"])
def test_what_cannot_be_fetched_or_checked_is_not_asked_for(what):
    with serving(whole) as server:
        with pytest.raises(DownloadError):
            get(replace(offer(server.url), **what))
        assert not server.asked


# Silence


def says_nothing(handler: Handler) -> None:
    handler.server.silence.wait()


def sends_half_and_says_no_more(handler: Handler) -> None:
    handler.start(Content_Length=len(CONTENT))
    handler.send(CONTENT[:HALF])
    handler.server.silence.wait()


@pytest.mark.parametrize("answer", [says_nothing, sends_half_and_says_no_more])
def test_it_is_cancelled_while_the_server_is_silent(answer):
    seen: list[Fetching] = []
    with serving(answer) as server:
        with pytest.raises(Cancelled):
            get(
                offer(server.url),
                progress=seen.append,
                cancelled=lambda: bool(server.asked) and (answer is says_nothing or len(seen) > 1),
            )
        assert not server.silence.is_set()
    assert files() == []


def test_it_is_cancelled_while_a_name_is_looked_up(monkeypatch):
    quiet = threading.Event()
    started = threading.Event()

    def looks_up(*arguments: object, **options: object) -> None:
        started.set()
        quiet.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", looks_up)
    with pytest.raises(Cancelled):
        get(offer("https://download.pytorch.org/models/weights.pth"), cancelled=started.is_set)
    assert not quiet.is_set()
    quiet.set()


def test_it_is_cancelled_while_keys_are_exchanged():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        accepted = threading.Event()
        held = []

        def accept() -> None:
            held.append(silent.accept()[0])
            accepted.set()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        with pytest.raises(Cancelled):
            get(offer(f"https://127.0.0.1:{silent.getsockname()[1]}/weights.pth"), cancelled=accepted.is_set)
        thread.join()
        held[0].close()


def test_it_is_cancelled_while_it_waits_for_the_next_try(monkeypatch):
    waits = threading.Event()
    clock = types.SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: waits.set())
    monkeypatch.setattr(download, "time", clock)
    with serving(lambda handler: ranged(handler, upto=1000)) as server, pytest.raises(Cancelled):
        get(offer(server.url), cancelled=waits.is_set, pauses=(3600.0,))
    assert files() == []


def test_it_is_cancelled_while_it_looks_at_what_is_here():
    with serving(whole) as server:
        what = offer(server.url)
        kept(what, CONTENT)
        with pytest.raises(Cancelled):
            get(what, cancelled=lambda: True)
        assert not server.asked


def test_a_server_that_falls_silent_is_left_and_what_came_is_kept():
    with serving(sends_half_and_says_no_more) as server:
        what = offer(server.url)
        assert "fallen silent" in refusal(what, timeouts=Timeouts(silence=0.05), pauses=())
        assert not server.silence.is_set()
    assert cache.part_of(what).read_bytes() == CONTENT[:HALF]


def test_an_interrupt_keeps_what_came():
    def interrupt(fetching: Fetching) -> None:
        if fetching.done:
            raise KeyboardInterrupt

    with serving(ranged) as server:
        what = offer(server.url)
        kept(what, CONTENT[:1000])
        with pytest.raises(KeyboardInterrupt):
            get(what, progress=interrupt)
        assert cache.part_of(what).read_bytes() == CONTENT[:1000]


# Room


def test_room_is_looked_for_before_anything_is_asked(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=12_300_000))
    with serving(whole) as server:
        sentence = refusal(offer(server.url, nbytes=97_800_000))
        assert not server.asked
    assert "12.3 MB are free" in sentence
    assert "97.8 MB are to come" in sentence


def test_only_what_is_missing_needs_room(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=HALF))
    with serving(ranged) as server:
        what = offer(server.url)
        kept(what, CONTENT[:HALF])
        assert get(what).read_bytes() == CONTENT


def test_room_is_looked_for_again_when_the_server_says_how_much_comes(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=100))
    with serving(whole) as server:
        assert "262.1 kB are to come" in refusal(offer(server.url, nbytes=0))


def test_a_disk_that_fills_up_meanwhile_is_told_and_what_came_is_kept(monkeypatch):
    room = iter([None, None])

    def add(part: download._Part, chunk: bytes) -> None:
        if next(room, chunk) is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(part, chunk)

    real = download._Part.add
    monkeypatch.setattr(download._Part, "add", add)
    with serving(ranged) as server:
        what = offer(server.url)
        sentence = refusal(what)
    assert "is full" in sentence
    assert "are kept" in sentence
    assert CONTENT.startswith(cache.part_of(what).read_bytes())


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kB; only root may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk may be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_small_disk_is_filled_and_left(small_disk, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(small_disk))
    with serving(ranged) as server:
        what = offer(server.url)
        assert "no room" in refusal(what)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=10**9))
        assert "is full" in refusal(what)
    assert CONTENT.startswith(cache.part_of(what).read_bytes())


def test_a_folder_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with serving(whole) as server:
        assert "cannot be written to" in refusal(offer(server.url))
        assert not server.asked


def test_where_there_is_no_home_it_asks_for_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with serving(whole) as server:
        assert "TORCH_HOME" in refusal(offer(server.url))
    assert not list(tmp_path.iterdir())


# Two at once


def test_of_two_at_once_one_fetches_and_the_other_waits():
    both = threading.Barrier(2)
    paths = []

    def fetch_with_the_other() -> None:
        both.wait()
        paths.append(get(offer(server.url)))

    with serving(ranged) as server:
        threads = [threading.Thread(target=fetch_with_the_other) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.asked) == 1
    assert [path.read_bytes() for path in paths] == [CONTENT, CONTENT]
    assert files() == ["weights.pth"]


HOLD = """
import pathlib, sys
from fmviz.networks import lock
with lock.held(pathlib.Path(sys.argv[1]), lambda: None):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_waited_for_until_it_ends_however_it_ends(python):
    with serving(ranged) as server:
        what = offer(server.url)
        kept(what, CONTENT[:5000])
        held = cache.part_of(what).with_suffix(cache.LOCK)
        command = [*python, "-c", HOLD, str(held)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout.readline() == b"held\n"
            looks = iter([False] * 4)
            with pytest.raises(Cancelled):
                get(what, cancelled=lambda: next(looks, True))
            assert not server.asked
            # It is the other's, and not thrown away by who gives up waiting for it.
            assert cache.part_of(what).read_bytes() == CONTENT[:5000]
            assert [row.file_name for row in listed()] == [cache.part_of(what).name]
            looked = threading.Event()
            seen: list[Fetching] = []

            def cancelled() -> bool:
                looked.set()
                return False

            thread = threading.Thread(target=lambda: get(what, cancelled=cancelled, progress=seen.append))
            thread.start()
            looked.wait()
            other.kill()
            thread.join()
    assert cache.path_of(what).read_bytes() == CONTENT
    assert server.asked[0]["Range"] == "bytes=5000-"
    assert files() == ["weights.pth"]


# Proxies


def relays(handler: Handler) -> None:
    """A proxy that has seen it all before: it answers by itself."""
    ranged(handler)


def test_a_proxy_of_the_environment_is_asked(monkeypatch):
    with serving(says_nothing) as server, serving(relays) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{proxy.server_port}")
        assert get(offer(server.url)).read_bytes() == CONTENT
        assert proxy.paths == [server.url]
        assert proxy.asked[0]["Proxy-Authorization"].startswith("Basic ")
        assert not server.asked


def test_a_server_that_no_proxy_is_for_is_asked_directly(monkeypatch):
    with serving(ranged) as server, serving(relays) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert get(offer(server.url)).read_bytes() == CONTENT
        assert not proxy.asked


def test_a_proxy_that_is_not_there_is_named_without_its_password(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
    monkeypatch.setenv("https_proxy", f"http://user:secret@{address}/")
    sentence = refusal(offer("https://download.pytorch.org/weights.pth"))
    assert f"the proxy {address} takes no connections" in sentence
    assert "secret" not in sentence


def test_a_proxy_that_refuses_is_quoted(monkeypatch):
    with serving(whole) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.server_port}")
        sentence = refusal(offer("https://download.pytorch.org/weights.pth"))
    # It knows no CONNECT.
    assert f"the proxy 127.0.0.1:{proxy.server_port} refuses (501" in sentence


# HTTPS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A certificate for 127.0.0.1, and its key, in one file."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    place = tmp_path_factory.mktemp("certificate") / "both.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [*command.split(), "-keyout", str(place), "-out", str(place) + ".crt"], check=True, capture_output=True
    )
    place.write_bytes(place.read_bytes() + Path(f"{place}.crt").read_bytes())
    return place


@pytest.fixture
def safe(certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_over_https_as_well_it_goes_on_after_a_break(safe, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(lambda handler: ranged(handler, upto=None if handler.wanted() else HALF), safe) as server:
        assert get(offer(server.url)).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_over_https_as_well_it_is_cancelled_while_the_server_is_silent(safe, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    seen: list[Fetching] = []
    with serving(sends_half_and_says_no_more, safe) as server:
        with pytest.raises(Cancelled):
            get(offer(server.url), progress=seen.append, cancelled=lambda: len(seen) > 1)
        assert not server.silence.is_set()


def test_a_server_that_nobody_vouches_for_is_refused(safe):
    with serving(ranged, safe) as server:
        assert "cannot prove that it is who it says" in refusal(offer(server.url))
        assert not server.asked


def test_https_does_not_lead_back_to_http(safe, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(whole) as plain:
        points = lambda handler: handler.start(302, Location=plain.url, Content_Length=0)  # noqa: E731
        with serving(points, safe) as server:
            assert "not safe" in refusal(offer(server.url))
        assert not plain.asked


def test_https_through_a_proxy_is_a_tunnel_that_the_proxy_cannot_look_into(safe, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(ranged, safe) as server, tunnelling() as (port, asked):
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        assert get(offer(server.url)).read_bytes() == CONTENT
    (line,) = asked
    assert line.startswith(f"CONNECT 127.0.0.1:{server.server_port} ")


@contextlib.contextmanager
def tunnelling():
    """A proxy for one connection: its port, and the first lines of what it was asked."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            client = listening.accept()[0]
            with client, client.makefile("rb") as lines:
                asked.append(lines.readline().decode().strip())
                while lines.readline().strip():
                    pass
                host, port = asked[0].split()[1].split(":")
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                with socket.create_connection((host, int(port))) as server:
                    back = threading.Thread(target=pass_on, args=(server, client))
                    back.start()
                    pass_on(client, server)
                    back.join()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], asked
        thread.join()


def pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


# torch.hub


def saved() -> bytes:
    """A small file of weights, as torch writes it."""
    import torch

    stream = io.BytesIO()
    torch.save({"weight": torch.arange(4.0)}, stream)
    return stream.getvalue()


def test_torch_hub_finds_what_was_fetched():
    import torch

    content = saved()
    with serving(lambda handler: whole(handler, content)) as server:
        get(offer(server.url, content))
        found = torch.hub.load_state_dict_from_url(server.url, weights_only=True, progress=False)
        assert len(server.asked) == 1
    assert found["weight"].tolist() == [0, 1, 2, 3]


def test_what_torch_hub_fetched_is_here(capsys):
    import torch

    content = saved()
    with serving(lambda handler: whole(handler, content)) as server:
        what = offer(server.url, content)
        assert not cache.is_here(what)
        torch.hub.load_state_dict_from_url(server.url, weights_only=True, progress=False)
        assert cache.is_here(what)
        get(what)
        assert len(server.asked) == 1
