"""Trust in files of code: by path and content, kept whole or not at all, and worth nothing once it is broken."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fmviz import own_model, trust
from fmviz.errors import BackboneError, ExportError, TrustError

ONE, OTHER = (hashlib.sha256(text).hexdigest() for text in (b"one", b"other"))


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "config"
    monkeypatch.setenv("FMVIZ_CONFIG_HOME", str(folder))
    return folder


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "mine.py"
    path.write_bytes(b"one")
    return path


def test_a_file_is_trusted_with_this_content_and_with_no_other(file, config):
    assert not trust.is_trusted(file, ONE)
    assert not trust.edited(file, ONE)
    trust.trust(file, ONE)
    assert trust.is_trusted(file, ONE)
    assert trust.is_trusted(file, ONE.upper())
    assert not trust.is_trusted(file, OTHER)
    assert (trust.edited(file, ONE), trust.edited(file, OTHER)) == (False, True)
    assert [path.name for path in config.iterdir()] == ["trusted.json"]


def test_the_same_content_in_another_place_is_another_file(file, tmp_path):
    trust.trust(file, ONE)
    assert not trust.is_trusted(tmp_path / "copy.py", ONE)
    assert not trust.edited(tmp_path / "copy.py", ONE)


def test_content_trusted_once_stays_trusted_after_other_edits(file, config):
    """a → b → a: the second a is not asked about again, and neither is the second b."""
    trust.trust(file, ONE)
    trust.trust(file, OTHER)
    for content in (ONE, OTHER, ONE.upper()):
        assert trust.is_trusted(file, content)
        assert not trust.edited(file, content)
    third = hashlib.sha256(b"third").hexdigest()
    assert not trust.is_trusted(file, third)
    assert trust.edited(file, third)
    trust.trust(file, ONE)
    assert json.loads((config / "trusted.json").read_text())["files"] == {os.path.realpath(file): [OTHER, ONE]}


def test_contents_and_files_are_bounded_and_the_oldest_go_first(file, tmp_path, monkeypatch):
    contents = [hashlib.sha256(bytes([number])).hexdigest() for number in range(trust.MOST_CONTENTS + 3)]
    for content in contents:
        trust.trust(file, content)
    assert [trust.is_trusted(file, content) for content in contents] == [False] * 3 + [True] * trust.MOST_CONTENTS
    # Trusted again, it is the newest.
    trust.trust(file, contents[3])
    trust.trust(file, contents[0])
    assert trust.is_trusted(file, contents[3])
    assert not trust.is_trusted(file, contents[4])
    monkeypatch.setattr(trust, "MOST_FILES", 3)
    names = [tmp_path / f"{letter}.py" for letter in "zyxw"]
    for name in names:
        trust.trust(name, ONE)
    assert [trust.is_trusted(name, ONE) for name in names] == [False, True, True, True]
    assert not trust.is_trusted(file, contents[3])


def test_a_store_of_an_earlier_version_is_read_and_migrated(file, tmp_path, config):
    """It held one SHA-256 for each path."""
    config.mkdir()
    other = os.path.realpath(tmp_path / "other.py")
    (config / "trusted.json").write_text(json.dumps({"files": {os.path.realpath(file): ONE, other: OTHER}}))
    assert trust.is_trusted(file, ONE)
    assert trust.edited(file, OTHER)
    trust.trust(file, OTHER)
    assert trust.is_trusted(file, ONE)
    assert trust.is_trusted(file, OTHER)
    assert json.loads((config / "trusted.json").read_text())["files"] == {
        os.path.realpath(file): [ONE, OTHER],
        other: [OTHER],
    }


def test_what_is_forgotten_is_asked_about_as_if_for_the_first_time(file, tmp_path):
    trust.trust(file, ONE)
    trust.trust(tmp_path / "other.py", OTHER)
    trust.forget(file)
    trust.forget(file)
    assert not trust.is_trusted(file, ONE)
    assert not trust.edited(file, OTHER)
    assert trust.is_trusted(tmp_path / "other.py", OTHER)


def test_one_file_has_one_name_from_any_folder_and_through_links(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trust.trust("mine.py", ONE)
    assert trust.is_trusted(file, ONE)
    link = tmp_path / "link.py"
    link.symlink_to(file)
    assert trust.is_trusted(link, ONE)
    assert trust.is_trusted(os.path.join("..", tmp_path.name, "mine.py"), ONE)
    assert own_model.split(str(link)) == (file.resolve(), "build")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"files": []}',
        b'{"files": {"%PATH%": 1}}',
        b'{"files": {"%PATH%": [["%ONE%"], 7, "one", null]}}',
        b'{"files": {"%PATH%": {"%ONE%": true}}}',
        b'{"files": {"%PATH%": "one"}}',
        b"[" * 100_000,
    ],
    ids=[
        "empty",
        "cut",
        "no text",
        "list",
        "null",
        "files a list",
        "number",
        "list of other things",
        "dict",
        "no sum",
        "deep",
    ],
)
def test_a_broken_store_trusts_nothing_and_is_mended_by_the_next_word(file, config, content):
    config.mkdir()
    path = os.path.realpath(file).encode()
    (config / "trusted.json").write_bytes(content.replace(b"%PATH%", path).replace(b"%ONE%", ONE.encode()))
    assert not trust.is_trusted(file, ONE)
    assert not trust.edited(file, ONE)
    trust.trust(file, ONE)
    assert trust.is_trusted(file, ONE)


def test_a_bad_entry_does_not_take_the_others_with_it(file, config):
    config.mkdir()
    files = {os.path.realpath(file): [3, OTHER, "*", ONE], "/elsewhere.py": 7}
    (config / "trusted.json").write_text(json.dumps({"files": files}))
    assert trust.is_trusted(file, ONE)
    assert trust.is_trusted(file, OTHER)


def test_only_a_checksum_can_be_trusted(file):
    for text in ("", "one", ONE[:-1], ONE + "\n", "*" * 64):
        with pytest.raises(ValueError, match="SHA-256"):
            trust.trust(file, text)
    assert not trust.store().exists()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="another system's paths")
def test_a_store_that_cannot_be_written_is_an_error_and_not_trust(file, config):
    config.write_bytes(b"a file where the folder should be")
    with pytest.raises(ExportError, match="config"):
        trust.trust(file, ONE)
    assert not trust.is_trusted(file, ONE)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_path_that_is_no_text_can_be_trusted(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.py")
    trust.trust(path, ONE)
    assert trust.is_trusted(path, ONE)


def test_it_is_kept_in_the_users_folder_where_nothing_else_is_said(monkeypatch, tmp_path):
    monkeypatch.delenv("FMVIZ_CONFIG_HOME")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert trust.store().name == "trusted.json"
    assert trust.store().parent.name == "fmviz"


def test_neither_torch_nor_qt_is_needed():
    code = "import sys, fmviz.trust, fmviz.own_model; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "PySide6", "numpy"} & set(loaded)


# What is asked before a file is run


def test_the_error_says_path_and_checksum_and_whether_it_was_edited(file):
    _, sha256 = own_model.read(file)
    assert sha256 == ONE
    with pytest.raises(TrustError) as caught:
        own_model.check(file, ONE)
    assert (caught.value.path, caught.value.sha256, caught.value.edited) == (str(file), ONE, False)
    assert str(file) in str(caught.value)
    assert ONE in str(caught.value)
    trust.trust(file, ONE)
    own_model.check(file, ONE)
    with pytest.raises(TrustError, match="edited since") as caught:
        own_model.check(file, OTHER)
    assert caught.value.edited


@pytest.mark.parametrize(
    ("text", "file", "function"),
    [
        ("/a/mine.py", "/a/mine.py", "build"),
        ("/a/mine.py:net", "/a/mine.py", "net"),
        ("own:/a/mine.py:net", "/a/mine.py", "net"),
        ("own:/a/b:c/mine.py", "/a/b:c/mine.py", "build"),
        ("/a/b:c/Mine.PY:make_it", "/a/b:c/Mine.PY", "make_it"),
    ],
)
def test_a_reference_is_a_file_and_a_function(text, file, function):
    path, name = own_model.split(text)
    assert (path, name) == (Path(os.path.realpath(file)), function)
    assert own_model.split(own_model.reference(text)) == (path, name)


@pytest.mark.parametrize("text", ["", "mine", "mine.pth", "mine.py:", "mine.py:1", "mine.py:a.b", ":build", "own:"])
def test_what_is_no_reference_is_refused_with_what_one_looks_like(text):
    with pytest.raises(BackboneError, match=r"mine\.py:build"):
        own_model.split(text)


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path):
    with pytest.raises(BackboneError, match=r"none\.py does not exist"):
        own_model.read(tmp_path / "none.py")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(BackboneError, match=r"folder\.py cannot be opened"):
        own_model.read(tmp_path / "folder.py")
