"""A fault of ours is a dialog that says what is safe, and a report without a name of the user's in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from desks import OpenDesk
from driving import Desk, until
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QPainter
from PySide6.QtTest import QTest

from fmviz.app import report
from fmviz.app.keeping import Keeper
from fmviz.app.state import Store

WINDOW = Path(__file__).with_name("a_window.py")


@pytest.fixture
def listening(desk: Desk) -> Iterator[Desk]:
    """A window that hears of what nobody caught."""
    desk.app.faults.listen()
    yield desk
    desk.app.faults.stop()
    if desk.app.faults.dialog is not None:
        desk.app.faults.dialog.accept()


def dialog_of(desk: Desk):
    until(lambda: desk.app.faults.dialog is not None, "the dialog opens")
    return desk.app.faults.dialog


def fail(desk: Desk, words: str) -> None:
    """Something in the window raises. (Under `QTest.qWait` PySide hands an error of a slot to the test.)"""
    try:
        raise ValueError(words)
    except ValueError:
        desk.app.faults.heard(*sys.exc_info())  # type: ignore[arg-type]


def test_errors_in_slots_of_a_running_window_are_one_dialog_and_it_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, str(WINDOW.with_name("a_faulty_window.py")), str(tmp_path / "settings.ini")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["title"] == "fmviz made 5 mistakes."
    assert "ValueError: number 1" in told["report"]
    assert ran.stderr.count("unexpected error") == 5


def test_an_error_is_a_dialog_and_the_window_goes_on(listening: Desk, caplog: pytest.LogCaptureFixture) -> None:
    maps = listening.maps
    fail(listening, "this cannot be")
    dialog = dialog_of(listening)
    assert dialog.isVisible()
    assert "ValueError: this cannot be" in dialog._what.text()
    assert "What is shown is still right" in " ".join(label.text() for label in dialog.findChildren(type(dialog._what)))
    QTest.mouseClick(dialog.copy, Qt.MouseButton.LeftButton)
    text = QGuiApplication.clipboard().text()
    assert text.startswith("fmviz ")
    assert "torch " in text
    assert "in fail" in text
    assert "ValueError: this cannot be" in text
    QTest.keyClick(dialog, Qt.Key.Key_Return)
    until(lambda: listening.app.faults.dialog is None, "it closes")
    assert listening.maps is maps
    listening.choose_tap("C4")
    listening.settle()
    assert any("unexpected error" in record.message for record in caplog.records)


def test_an_error_in_a_paint_ends_the_painter(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace that is kept, as a report keeps it, holds the painter: one that lives on would be found by Qt, and crash it."""
    canvas = desk.window.maps.canvas

    def fails(painter: QPainter) -> None:
        raise ValueError("no ink")

    with monkeypatch.context() as patched:
        patched.setattr(canvas, "_paint_current", fails)
        with pytest.raises(ValueError, match="no ink") as kept:
            canvas.viewport().repaint()
    canvas.viewport().repaint()
    assert kept.traceback


def test_more_of_them_are_counted_in_one_dialog(listening: Desk) -> None:
    for number in range(20):
        fail(listening, f"number {number}")
    dialog = dialog_of(listening)
    until(lambda: "20" in dialog._title.text(), "all are counted")
    assert dialog.text.count("ValueError") == 5, "the first five are in the report"


def test_an_error_in_a_thread_is_told_in_the_window(listening: Desk) -> None:
    thread = threading.Thread(target=float, args=("aside",))
    thread.start()
    thread.join()
    assert "aside" in dialog_of(listening)._what.text()


def test_a_report_names_no_file_of_the_user(listening: Desk, tmp_path: Path) -> None:
    private = tmp_path / "my aunt's house.png"
    private.write_bytes((Path(listening.state.sources[0].path)).read_bytes())
    listening.app.commands.open_paths([private])
    listening.settle()
    words = f"could not open {private} nor ~/letters/b.txt nor C:\\Users\\me\\c.pth; {private.name} is gone"
    fail(listening, words)
    dialog = dialog_of(listening)
    for text in (dialog.text, dialog._what.text()):
        for secret in ("aunt", str(Path.home()), str(tmp_path), "letters", "Users", "c.pth"):
            assert secret not in text
    assert "could not open (a file)" in dialog.text


def test_the_places_in_a_report_begin_at_their_package() -> None:
    try:
        report.without_files(None, ())  # type: ignore[arg-type]
    except TypeError as error:
        text = report.of_error(TypeError, error, error.__traceback__)
    assert "fmviz/app/report.py:" in text
    assert str(Path(report.__file__).parents[2]) not in text


SECRET_PLACES = [
    "fmviz/secret.py",
    "fmviz/app/secret.py",
    "fmviz/fmviz/app/secret.py",
    "site-packages/secret/secret.py",
    "lib/python3.13/secret.py",
    "dist-packages/numpy/secret.py",
    'fmviz/app/a "secret", line.py',
    "fmviz/app/secrét.py",
]
"""Files of a user below folders that are called as those of fmviz, of libraries and of Python are."""


@pytest.mark.parametrize("place", SECRET_PLACES)
def test_user_files_are_not_named_whatever_their_folders_are_called(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text("import faulthandler, os, signal\nfaulthandler.enable()\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    code = compile("import json\njson.loads('no')", str(path), "exec")
    with pytest.raises(ValueError, match="Expecting value") as raised:
        exec(code, {})
    crashed = subprocess.run([sys.executable, str(path)], stderr=subprocess.PIPE, timeout=60, check=False)
    assert crashed.returncode == -signal.SIGSEGV
    texts = [
        report.of_error(raised.type, raised.value, raised.tb),
        report.of_crash(crashed.stderr.decode()),
    ]
    assert "json/decoder.py:" in texts[0]
    for text in texts:
        assert "(a file)" in text
        assert "secr" not in text
        assert str(tmp_path) not in text


def test_places_of_the_package_are_named_through_links_and_escapes(tmp_path: Path) -> None:
    package = Path(report.__file__).parents[1]
    (tmp_path / "é").mkdir()
    (tmp_path / "é" / "linked").symlink_to(package, target_is_directory=True)
    linked = tmp_path / "é" / "linked" / "app" / "report.py"
    for path in (str(linked), str(linked).replace("é", r"\xe9"), str(package / "app" / ".." / "app" / "report.py")):
        text = report.of_crash(f'  File "{path}", line 12 in of_crash\n  Binary file "{path}", at abort+0x1')
        assert 'File "fmviz/app/report.py", line 12 in of_crash' in text
        assert 'Binary file "fmviz/app/report.py", at abort+0x1' in text


IN_A_ZIP = """
import fmviz.app.report as report
assert ".zip" in report.__file__, report.__file__
try:
    report.without_files(None, ())
except TypeError as error:
    print(report.of_error(TypeError, error, error.__traceback__))
"""


def test_places_of_a_package_in_a_zip_file_are_named(tmp_path: Path) -> None:
    package = Path(report.__file__).parents[1]
    with zipfile.ZipFile(tmp_path / "fmviz.zip", "w") as archive:
        for path in package.rglob("*.py"):
            archive.write(path, path.relative_to(package.parent))
    path = os.pathsep.join([str(tmp_path / "fmviz.zip"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", IN_A_ZIP]
    ran = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "fmviz/app/report.py:" in ran.stdout
    assert str(tmp_path) not in ran.stdout


@pytest.mark.parametrize("quotes", ["''", '""', "“”"])
def test_paths_with_spaces_are_left_out_in_quotes(quotes: str) -> None:
    for path in ("/home/me/my aunt/her house.png", "C:\\Users\\my aunt\\house.png", "~/my aunt/house.png"):
        text = report.without_files(f"No such file: {quotes[0]}{path}{quotes[1]}, and it isn't there", ())
        assert text == f"No such file: {quotes[0]}(a path){quotes[1]}, and it isn't there"


def test_a_crash_is_offered_as_a_report_at_the_next_start(open_desk: OpenDesk, tmp_path: Path) -> None:
    command = [sys.executable, str(WINDOW), str(tmp_path / "settings.ini"), str(tmp_path / "state")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as window:
        assert window.stdout is not None
        for line in window.stdout:
            if int(line) == 60:
                break
        window.send_signal(signal.SIGSEGV)
    assert window.returncode == -signal.SIGSEGV
    desk = open_desk(folder=tmp_path / "state")
    desk.settle()
    assert desk.problem("window").startswith("fmviz crashed last time, with ")
    desk.do("copy_report")
    text = QGuiApplication.clipboard().text()
    assert "Segmentation fault" in text
    assert "a_window.py" not in text
    assert str(tmp_path) not in text
    assert desk.app.returning.restore()
    desk.settle()
    assert [path.name for path in (tmp_path / "state").iterdir() if path.suffix == ".crash"] == [
        f"{desk.app.keeper._name}.crash"
    ]
    desk.close()
    keeper = Keeper(Store(), tmp_path / "state")
    assert keeper.begin().crash == ""
    keeper.end()
