"""`fmviz weights`: what it prints, what it fetches, what it removes, and its exit codes."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from loopback import CONTENT, offer, ranged, serving

from fmviz.cli import main
from fmviz.networks import cache, catalog
from fmviz.networks.catalog import backbone
from fmviz.networks.download import Fetching
from fmviz.weights_command import in_words

RESNET = backbone("resnet18").offers[0]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def server(monkeypatch):
    """A server, and a network in the catalog whose weights it has."""
    with serving(ranged) as server:
        tiny = replace(backbone("resnet18"), name="tiny", offers=(offer(server.url), offer(server.url, name="OLD")))
        real = catalog.backbone
        monkeypatch.setattr(catalog, "backbone", lambda name: tiny if name == "tiny" else real(name))
        names = (*catalog.backbones(), "tiny")
        monkeypatch.setattr(catalog, "backbones", lambda: names)
        yield server


class Terminal(io.StringIO):
    """Somebody who has typed an answer."""

    def isatty(self) -> bool:
        return True


def put(name: str) -> Path:
    path = cache.folder() / name
    path.write_bytes(b"0123456789")
    return path


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(["weights", *arguments])
    return code, *capsys.readouterr()


# List


def test_an_empty_cache_says_where_it_is(place, capsys):
    code, printed, told = run(capsys, "list")
    assert (code, printed) == (0, "")
    assert str(place) in told


def test_the_list_names_file_size_weights_and_networks(capsys):
    put(RESNET.file_name)
    put(cache.part_of(RESNET).name)
    put("mine.pth")
    code, printed, told = run(capsys, "list")
    assert (code, told) == (0, "")
    mine, whole, part = printed.splitlines()
    assert mine.split(maxsplit=5) == ["●", "mine.pth", "10", "bytes", "–", "no network known"]
    assert whole.split()[:5] == ["●", RESNET.file_name, "10", "bytes", RESNET.name]
    assert "resnet18_fpn, resnet18" in whole
    assert part.startswith(f"◐ {cache.part_of(RESNET).name}")


def test_the_long_list_has_each_file_that_could_be_fetched_once(capsys):
    put(RESNET.file_name)
    code, printed, _ = run(capsys, "list", "--all")
    rows = [line.split() for line in printed.splitlines()]
    assert code == 0
    assert rows[0][:2] == ["●", RESNET.file_name]
    names = [row[1] for row in rows]
    assert len(names) == len(set(names))
    offered = {offer.file_name for name in catalog.backbones() for offer in backbone(name).offers if offer.url}
    assert set(names) == offered
    assert {row[0] for row in rows[1:]} == {"↓"}


# Fetch


def test_fetching_prints_the_path_and_nothing_else(server, capsys):
    code, printed, told = run(capsys, "fetch", "tiny")
    assert (code, told) == (0, "")
    assert Path(printed.strip()).read_bytes() == CONTENT
    assert run(capsys, "fetch", "tiny", "old") == (0, printed, "")
    assert len(server.asked) == 1


def test_fetching_shows_how_far_it_is_on_a_terminal(server, capsys, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["weights", "fetch", "tiny"]) == 0
    assert "weights.pth" in terminal.getvalue()
    assert "262.1 kB of 262.1 kB" in terminal.getvalue()


def test_what_cannot_be_fetched_is_one_line_and_exit_code_1(server, capsys):
    server.answer = lambda handler: handler.start(404, Content_Length=0)
    code, printed, told = run(capsys, "fetch", "tiny")
    assert (code, printed) == (1, "")
    assert told.count("\n") == 1
    assert "404" in told


def test_what_comes_in_a_package_needs_no_fetching(capsys):
    code, printed, _ = run(capsys, "fetch", "efficientnet_lite0")
    assert code == 0
    assert Path(printed.strip()).is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resnet18", "nonsense"), f"choose {RESNET.name}"),
        (("resnet18", "random"), f"choose {RESNET.name}"),
        (("resnet", RESNET.name), "no backbone"),
    ],
)
def test_names_that_do_not_exist_are_answered_with_those_that_do(arguments, words, capsys):
    for action in ("fetch", "path", "remove"):
        code, printed, told = run(capsys, action, *arguments)
        assert (code, printed) == (1, "")
        assert words in told


@pytest.mark.parametrize(
    ("fetching", "words"),
    [
        (Fetching(0, None, 0.0, None), "0 bytes"),
        (Fetching(12_300_000, 97_800_000, 3_200_000.0, 26.7), "12.3 MB of 97.8 MB, 3.2 MB/s, 27 s left"),
        (Fetching(1500, None, 10.0, None), "1.5 kB, 10 bytes/s"),
        (Fetching(0, 2_000_000_000, 1e6, 2000.0), "0 bytes of 2.0 GB, 1.0 MB/s, 33 min 20 s left"),
    ],
)
def test_how_far_it_is_in_words(fetching, words):
    assert in_words(fetching) == words


# Path


def test_the_path_of_the_cache(place, capsys):
    assert run(capsys, "path") == (0, f"{place}\n", "")


def test_the_path_of_the_best_weights_that_are_here(capsys):
    old = put(backbone("resnet50").offers[-1].file_name)
    assert run(capsys, "path", "resnet50") == (0, f"{old}\n", "")
    code, printed, told = run(capsys, "path", "resnet50", backbone("resnet50").offers[0].name)
    assert (code, printed) == (1, "")
    assert "fmviz weights fetch resnet50" in told


def test_the_path_of_weights_that_are_not_here_is_a_sentence(capsys):
    code, printed, told = run(capsys, "path", "resnet18")
    assert (code, printed) == (1, "")
    assert "not on this computer" in told


# Remove


def test_a_file_is_removed_without_a_question_where_yes_is_said(capsys):
    path = put("mine.pth")
    code, printed, _ = run(capsys, "remove", "mine.pth", "--yes")
    assert (code, printed) == (0, f"Removed {path}.\n")
    assert not path.exists()


def test_all_files_of_a_network_are_removed_and_those_of_others_stay(capsys):
    paths = [put(offer.file_name) for offer in backbone("resnet50").offers]
    part = put(cache.part_of(backbone("resnet50").offers[0]).name)
    other = put(RESNET.file_name)
    assert run(capsys, "remove", "resnet50", backbone("resnet50").offers[1].name, "--yes")[0] == 0
    assert [path.exists() for path in (*paths, part, other)] == [True, False, True, True]
    assert run(capsys, "remove", "resnet50", "--yes")[0] == 0
    assert [path.exists() for path in (*paths, part, other)] == [False, False, False, True]


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("Yes\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_on_a_terminal_it_asks(answer, code, capsys, monkeypatch):
    path = put("mine.pth")
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert run(capsys, "remove", "mine.pth")[0] == code
    assert path.exists() is bool(code)


def test_where_nobody_can_answer_it_wants_yes(capsys, monkeypatch):
    path = put("mine.pth")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    code, _, told = run(capsys, "remove", "mine.pth")
    assert code == 2
    assert "--yes" in told
    assert path.exists()


@pytest.mark.parametrize(
    "arguments", [("no.pth",), ("resnet18",), ("resnet18", RESNET.name), ("../victim.pth",), ("efficientnet_lite0",)]
)
def test_what_is_not_in_the_cache_is_not_removed(arguments, place, capsys):
    (place.parent / "victim.pth").write_bytes(b"precious")
    code, printed, told = run(capsys, "remove", *arguments, "--yes")
    assert (code, printed) == (1, "")
    assert told.count("\n") == 1
    assert (place.parent / "victim.pth").exists()


def test_wrong_usage_is_exit_code_2(capsys):
    for arguments in ([], ["nonsense"], ["fetch"], ["remove"]):
        with pytest.raises(SystemExit) as ended:
            main(["weights", *arguments])
        assert ended.value.code == 2
