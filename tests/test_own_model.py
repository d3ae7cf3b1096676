"""Models of the user's own: a file of code that does whatever it likes, and a live module that is left as it was."""

from __future__ import annotations

import csv
import errno
import importlib
import io
import json
import re
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor, nn

import fmviz
import fmviz.writing
from fmviz import own_model, trust
from fmviz.assets import asset
from fmviz.cli import main
from fmviz.errors import BackboneError, ForwardError, PictureError, TrustError
from fmviz.memory import check_budget
from fmviz.networks import own
from fmviz.networks.own import AS_BUILT, LIVE
from fmviz.networks.weights import load
from fmviz.preprocess import Preprocessing
from fmviz.session import Session

CAT = asset("samples/chelsea.png")

NET = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3)
            self.second = nn.Conv2d(4, 2, 3)

        def forward(self, x):
            return self.second(torch.relu(self.first(x))).mean((2, 3))

    def build():
        return Net()
"""


@pytest.fixture(autouse=True)
def _config(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("FMVIZ_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


@pytest.fixture
def write(tmp_path) -> Callable[..., str]:
    """Writes a file of code, which is trusted unless it is said otherwise; its path."""

    def written(code: str, *, name: str = "mine.py", trusted: bool = True) -> str:
        path = tmp_path / name
        path.write_text(textwrap.dedent(code), encoding="utf-8")
        if trusted:
            trust.trust(path, own_model.read(path)[1])
        return str(path)

    return written


class Small(nn.Module):
    """What is looked at live: dropout and batch norm, to see that neither is stirred."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.relu(self.norm(self.conv(x)))).mean((2, 3)))


# Nothing is run before it is trusted


def test_a_file_that_nobody_trusts_is_not_run(write, tmp_path):
    marker = tmp_path / "it was run"
    path = write(f"import pathlib; pathlib.Path({str(marker)!r}).touch()\n" + textwrap.dedent(NET), trusted=False)
    with pytest.raises(TrustError) as caught:
        own.backbone(f"{path}:build")
    assert not marker.exists()
    assert (caught.value.path, caught.value.edited) == (path, False)
    trust.trust(path, caught.value.sha256)
    assert isinstance(own.backbone(f"{path}:build").build(), nn.Module)
    assert marker.exists()


def test_an_edited_file_is_asked_about_again(write):
    path = write(NET)
    own.backbone(path)
    with open(path, "a", encoding="utf-8") as file:
        file.write("\n")
    with pytest.raises(TrustError, match="edited since") as caught:
        own.backbone(path)
    assert caught.value.edited


def test_what_is_run_are_the_bytes_that_were_checked_whatever_the_file_holds_by_then(write, monkeypatch, tmp_path):
    path = write("answer = 'checked'\n" + textwrap.dedent(NET))
    marker = tmp_path / "swapped code was run"
    checked = own.check

    def check_then_swap(place: Path, sha256: str) -> None:
        checked(place, sha256)
        Path(path).write_text(
            f"import pathlib; pathlib.Path({str(marker)!r}).touch()\nbuild = None\n", encoding="utf-8"
        )

    monkeypatch.setattr(own, "check", check_then_swap)
    row = own.backbone(path)
    assert isinstance(row.build(), nn.Module)
    # Run again for another network of it: still the bytes that were checked.
    assert isinstance(row.build(), nn.Module)
    assert not marker.exists()


def test_the_command_line_wants_trust_and_remembers_it(write, tmp_path, capsys):
    path = write(NET, trusted=False)
    sha256 = own_model.read(Path(path))[1]
    for command in (
        ["table", "--model", path, "--size", "32"],
        ["export", str(CAT), "-o", str(tmp_path / "out"), "--model", f"{path}:build", "--whole", "32"],
        ["export", str(CAT), "-o", str(tmp_path / "out"), "--backbone", f"own:{path}:build", "--whole", "32"],
    ):
        assert main(command) == 3
        (line,) = capsys.readouterr().err.splitlines()
        assert all(words in line for words in ("fmviz: ", path, sha256, "--trust"))
    assert not (tmp_path / "out").exists()
    assert main(["table", "--model", f"{path}:build", "--trust", "--size", "32"]) == 0
    assert main(["table", f"own:{path}:build", "--size", "32"]) == 0
    assert "first" in capsys.readouterr().out
    with open(path, "a", encoding="utf-8") as file:
        file.write("\n# edited\n")
    assert main(["table", "--model", path, "--size", "32"]) == 3
    assert "edited" in capsys.readouterr().err


def test_the_command_line_exports_an_own_model(write, tmp_path, capsys):
    path = write(NET)
    out = tmp_path / "out"
    arguments = [
        "export",
        str(CAT),
        "-o",
        str(out),
        "--model",
        path,
        "--whole",
        "32",
        "--layers",
        "first",
        "--device",
        "cpu",
    ]
    assert main(arguments) == 0
    (written,) = out.iterdir()
    with PIL.Image.open(written) as image:
        facts = json.loads(image.text["fmviz"])
    assert facts["network"] == "own/mine.py:build"
    assert facts["code"] == {"name": "mine.py", "sha256": own_model.read(Path(path))[1]}
    assert str(tmp_path) not in json.dumps(facts)
    assert "paper" not in facts
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--backbone", "vgg11"])
    assert caught.value.code == 2


def test_the_window_opens_on_an_own_model(write, monkeypatch):
    opened = []
    window = type(sys)("fmviz.app.main")
    window.run = lambda pictures, **options: opened.append(options["backbone"]) or 0
    monkeypatch.setitem(sys.modules, "fmviz.app.main", window)
    path = write(NET, trusted=False)
    sha256 = own_model.read(Path(path))[1]
    assert main(["--model", path]) == 0
    assert not trust.is_trusted(path, sha256), "the window asks"
    assert main(["--model", path, "--trust", "cat.png"]) == 0
    assert trust.is_trusted(path, sha256)
    assert opened == [f"own:{path}:build"] * 2
    assert main(["--model", f"{path}.no/none.py"]) == 1
    assert len(opened) == 2


# What a file may hold


def test_a_function_a_class_and_a_module_all_make_networks_of_their_own(write):
    path = write(NET + "\n    net = build()\n")
    for function in ("build", "Net", "net"):
        row = own.backbone(f"{path}:{function}")
        first, second = row.build(), row.build()
        assert first is not second
        assert [name for name, _ in first.named_children()] == ["first", "second"]
        assert (row.name, row.group) == (f"own/mine.py:{function}", "own")


@pytest.mark.parametrize("function", ["build", "net"])
def test_what_is_random_comes_from_the_seed(write, function):
    row = own.backbone(f"{write(NET + chr(10) + '    net = build()')}:{function}")
    before = torch.get_rng_state()
    values = [load(row, "random", seed=seed)[0].first.weight for seed in (1, 1, 2)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_file_may_say_what_it_wants_to_be_fed_and_what_its_logits_are(write):
    path = write(
        NET
        + """
    import fmviz
    preprocessing = fmviz.Preprocessing(mode="whole", longer_side=40)
    classes = ["cat", "dog"]
"""
    )
    session = Session(f"own:{path}:build")
    capture = session.run(CAT)
    assert max(capture.input.geometry.input_size) == 40
    assert {name for name, _ in capture.predictions} == {"cat", "dog"}
    assert sum(share for _, share in capture.predictions) == pytest.approx(1)
    assert session.weights.name == AS_BUILT
    assert session.weights.untrained == ()
    assert session.table(32).totals.parameters == sum(one.numel() for one in session.model.parameters())


def test_the_table_of_a_file_counts_what_its_code_froze(write, capsys):
    path = write(
        """
        from torch import nn

        def build():
            network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1))
            network[0].requires_grad_(False)
            return network
        """
    )
    totals = Session(f"own:{path}:build").table(16).totals
    assert (totals.trainable, totals.parameters) == (10, 122)
    assert main(["table", "--model", path, "--size", "16"]) == 0
    assert "Parameters: 10 trainable, 112 frozen" in capsys.readouterr().out
    assert main(["table", "--model", path, "--size", "16", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["trainable"], row["frozen"]) for row in rows] == [("10", "112"), ("0", "112"), ("10", "0")]


def test_a_module_of_a_file_is_counted_the_same_each_time(write):
    path = write("from torch import nn\nnetwork = nn.Conv2d(3, 4, 3)\n\ndef build():\n    return network\n")
    row = own.backbone(path)
    for _ in range(2):
        model, _ = load(row, "random")
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert fmviz.layer_table(model, 16).totals.trainable == 112


def test_a_function_in_the_file_may_prepare_its_pictures(write):
    path = write(
        """
        import torch
        from torch import nn

        def preprocessing(image):
            return torch.full((3, 8, image.width // 10), 0.5)

        build = lambda: nn.Sequential(nn.Conv2d(3, 2, 3))
        """
    )
    capture = Session(f"own:{path}:build").run(CAT)
    assert capture["0"].tensor.shape[2:] == (6, 45 - 2)


def test_modules_that_were_there_before_are_never_let_go_of(write, tmp_path, monkeypatch):
    (tmp_path / "package_beside").mkdir()
    (tmp_path / "package_beside" / "__init__.py").write_text("")
    (tmp_path / "package_beside" / "later.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    package = importlib.import_module("package_beside")
    path = write("import package_beside.later\n" + textwrap.dedent(NET))
    own.backbone(path)
    later = sys.modules["package_beside.later"]
    own.backbone(path)
    assert sys.modules["package_beside"] is package
    assert sys.modules["package_beside.later"] is later
    for name in ("package_beside", "package_beside.later"):
        del sys.modules[name]


def test_a_file_of_weights_fits_an_own_model_too(write, tmp_path):
    path = write(NET + "\n    classes = ['cat', 'dog']\n")
    model = own.backbone(path).build()
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    session = Session(f"own:{path}:build", weights=tmp_path / "mine.pth")
    assert torch.equal(session.model.first.weight, model.first.weight)
    assert (session.weights.name, session.weights.classes) == ("mine.pth", ("cat", "dog"))


def test_neighbours_are_imported_and_an_edited_one_is_read_again(write, tmp_path):
    write("channels = 4", name="sizes_beside.py", trusted=False)
    path = write(
        "from torch import nn\ndef build():\n    import sizes_beside\n    return nn.Conv2d(3, sizes_beside.channels, 1)"
    )
    before = list(sys.path)
    assert own.backbone(path).build().out_channels == 4
    (tmp_path / "sizes_beside.py").write_text("channels = 12")
    assert own.backbone(path).build().out_channels == 12
    assert sys.path == before


def test_a_file_with_dataclasses_and_postponed_annotations_runs(write):
    path = write(
        """
        from __future__ import annotations
        from dataclasses import dataclass
        from torch import nn

        @dataclass
        class Sizes:
            width: int = 4

        def build(sizes: Sizes = Sizes()) -> nn.Module:
            assert __file__.endswith("mine.py") and __name__ != "__main__"
            return nn.Conv2d(3, sizes.width, 3)
        """
    )
    assert own.backbone(path).build().out_channels == 4


# What a file may do


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 1\ndef build(:\n", r"mine\.py is no Python .* line 2"),
        ("x = 1\n\nraise ValueError('not today')", r"mine\.py stopped with ValueError: not today in line 3 "),
        ("import sys\nsys.exit(4)", r"mine\.py stopped with SystemExit: 4 in line 2 "),
        ("raise KeyboardInterrupt", r"stopped with KeyboardInterrupt in line 1 "),
        ("class Odd(BaseException): pass\nraise Odd('odd')", "stopped with Odd: odd in line 2 "),
        ("import a_package_that_is_not_there", r"No module named 'a_package_that_is_not_there' in line 1 "),
        ("import nothing_but_errors", r"nothing_but_errors\.py is no Python .* line 1"),
        ("def bild(): pass\ndef other(): pass", r"has no build; it has bild: write mine\.py:bild\."),
        ("x = 1", r"mine\.py has no build; define it\."),
        ("preprocessing = 3\ndef build(): pass", r"preprocessing in mine\.py is an int"),
        ("classes = 'cat'\ndef build(): pass", r"classes in mine\.py is a str"),
        ("\0", r"mine\.py is no Python"),
    ],
    ids=lambda value: value[:24],
)
def test_a_file_that_cannot_be_run_is_one_sentence_with_its_line(write, code, words):
    write("else", name="nothing_but_errors.py", trusted=False)
    path = write(code)
    with pytest.raises(BackboneError, match=words) as caught:
        own.backbone(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "def build():\n    raise SystemExit('enough')",
            r"stopped with SystemExit: enough in line 2 when build was called",
        ),
        ("def build():\n    return 1 / 0", "ZeroDivisionError: division by zero in line 2"),
        ("def build(): pass", r"build in mine\.py gives None and not a torch\.nn\.Module"),
        ("build = 'resnet'", r"build in mine\.py gives a str"),
        ("def build(): return {}", r"gives a dict"),
        ("def build(width): pass", r"without arguments \(missing a required argument: 'width'"),
    ],
    ids=lambda value: value[:40],
)
def test_a_function_that_makes_no_network_is_one_sentence(write, code, words):
    row = own.backbone(write(code))
    with pytest.raises(BackboneError, match=words):
        row.build()


def test_an_own_model_that_cannot_be_measured_runs_without_taps_and_without_a_table(write):
    path = write(
        """
        import numpy as np
        import torch
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, 2, 3)

            def forward(self, x):
                return torch.from_numpy(np.sqrt(self.conv(x).abs().numpy()))

        def build():
            return Net()
        """
    )
    session = Session(f"own:{path}:build")
    capture = session.run(CAT, preprocessing=Preprocessing().whole(40))
    assert dict(capture.taps) == {}
    assert len(capture) == 2
    check_budget(session, (8192, 8192))


def test_code_that_does_not_run_on_the_meta_device_has_a_table_all_the_same(write):
    path = write(
        """
        import numpy as np
        import torch
        from torch import nn

        def build():
            conv = nn.Conv2d(3, 2, 3)
            conv.bias.data = torch.from_numpy(conv.bias.detach().numpy() * 2)
            return nn.Sequential(conv)
        """
    )
    assert fmviz.layer_table(f"own:{path}:build", 32).row("0").output_shape == (1, 2, 30, 30)


# A forward that raises half way


class Halfway(nn.Module):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Sequential(nn.ReLU(), nn.Linear(7, 7))
        self.error = error
        self.runs = iter(range(1, 100))

    def forward(self, x: Tensor) -> Tensor:
        next(self.runs)
        self.second[0](self.first(x))
        raise self.error


@pytest.mark.parametrize(
    "error", [ValueError("no further"), SystemExit(3), GeneratorExit()], ids=lambda error: type(error).__name__
)
def test_a_forward_that_raises_half_way_leaves_all_layers_up_to_there(error):
    session = Session(model=Halfway(error))
    with pytest.raises(ForwardError, match=type(error).__name__) as caught:
        session.run(CAT, preprocessing=Preprocessing().whole(40))
    capture = caught.value.capture
    assert [str(layer) for layer in capture] == ["first", "second.0"]
    assert torch.equal(capture["second.0"].tensor, capture["first"].tensor.relu())
    assert capture.picture.name == "chelsea.png"
    assert capture.input.geometry.input_size == capture.input.tensor.shape[2:]
    assert capture.predictions == []
    assert dict(capture.taps) == {}
    assert "Halfway" in str(caught.value)
    # Not looked for its stages, which would have run it twice more.
    assert next(session.model.runs) == 2
    assert re.search(rf"(is|are) kept: mend it in {re.escape(Path(__file__).name)}, line \d+\.$", str(caught.value))
    assert "another size" not in str(caught.value)
    assert json.dumps(session.facts(capture))


def test_the_layer_that_stopped_is_named_and_the_taps_up_to_there_are_kept(monkeypatch):
    session = Session("resnet18_fpn", weights="random")

    def stop(x: Tensor) -> Tensor:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(session.model.get_submodule("body.layer3"), "forward", stop)
    with pytest.raises(ForwardError, match=r"layer “body.*on purpose.*: try an input of another size") as caught:
        session.run(CAT, preprocessing=session.preprocessing.whole(64))
    assert list(caught.value.capture.taps) == ["C2", "C3"]


STOPS = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Linear(7, 7)

    def forward(self, x):
        return self.second(self.first(x))

build = Net
"""


def test_what_a_forward_put_out_before_it_stopped_is_exported_and_the_stop_is_a_failure(write, tmp_path, capsys):
    path = write(STOPS)
    sized = ["--whole", "32", "--device", "cpu", "--model", path]
    assert main(["export", str(CAT), "-o", str(tmp_path / "all"), *sized]) == 1
    printed = capsys.readouterr()
    assert printed.out == f"{CAT}: 1 file in {tmp_path / 'all'}\n"
    (line,) = printed.err.splitlines()
    assert line.startswith(f"fmviz: {CAT}: The network stopped in layer “second” (Linear) with RuntimeError")
    assert line.endswith("are kept: mend it in mine.py, line 10.")
    (written,) = (tmp_path / "all").iterdir()
    assert "first" in written.name
    # What was asked for and never ran is named beside it.
    assert main(["export", str(CAT), "-o", str(tmp_path / "none"), "--layers", "second", *sized]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    note, line = printed.err.splitlines()
    assert note.startswith(f"fmviz: {CAT}: No layer is called “second”")
    assert "stopped in layer “second”" in line


def test_a_network_that_stops_and_a_full_disk_are_both_said(write, tmp_path, capsys, monkeypatch):
    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    sized = ["--whole", "32", "--device", "cpu", "--model", write(STOPS)]
    monkeypatch.setattr(fmviz.writing.os, "replace", full)
    assert main(["export", str(CAT), "-o", str(tmp_path / "out"), *sized]) == 1
    note, line = capsys.readouterr().err.splitlines()
    assert "The network stopped in layer “second”" in note
    assert "the disk is full" in line


# A live model


def state_of(model: nn.Module) -> list[object]:
    tensors = [tensor.clone() for tensor in model.state_dict().values()]
    flags = [(module.training, len(module._forward_hooks)) for module in model.modules()]
    return [tensors, flags, [parameter.requires_grad for parameter in model.parameters()]]


def test_a_live_model_is_used_as_it_is_and_left_as_it_was():
    model = Small()
    model.train()
    model.norm.eval()
    model.conv.bias.requires_grad_(False)
    before = state_of(model)
    session = Session(model=model, classes=["cat", "dog"])
    capture = session.run(CAT, preprocessing=Preprocessing().whole(48))
    after = state_of(model)
    assert session.model is model
    assert all(torch.equal(one, other) for one, other in zip(before[0], after[0], strict=True))
    assert before[1:] == after[1:]
    assert not any(activation.tensor.requires_grad for activation in capture.values())
    assert {name for name, _ in capture.predictions} == {"cat", "dog"}
    # In eval mode dropout passes everything on, which in training it does not.
    assert torch.equal(capture["drop"].tensor, capture["relu"].tensor)
    model.head(torch.ones(1, 4)).sum().backward()
    assert model.head.weight.grad is not None


def test_a_live_model_is_the_one_of_the_moment():
    model = Small()
    session = Session(model=model, preprocess=Preprocessing().whole(32))
    before = session.run(CAT)["conv"].tensor
    with torch.no_grad():
        model.conv.weight.mul_(2)
        model.conv.bias.mul_(2)
    after = session.run(CAT)["conv"].tensor
    torch.testing.assert_close(after, before * 2)


def test_facts_and_table_of_a_live_model():
    session = Session(model=Small(), preprocess=Preprocessing().whole(32))
    facts = session.facts(session.run(CAT))
    assert facts["network"] == "Small"
    assert facts["weights"]["name"] == LIVE
    assert "paper" not in facts
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    table = session.table(32)
    assert (table.network, table.totals.parameters) == ("Small", sum(one.numel() for one in session.model.parameters()))
    assert Session(model=Small(), name="mine").backbone.name == "mine"


def test_the_stages_of_a_live_model_are_found():
    pytest.importorskip("fmviz.networks.stages")
    model = nn.Sequential(*(nn.Conv2d(channels, 4, 3, stride=2, padding=1) for channels in (3, 4, 4, 4, 4)))
    capture = Session(model=model).run(torch.zeros(1, 3, 64, 64))
    assert [str(capture.taps[name].layer) for name in ("C2", "C3", "C4", "C5")] == ["1", "2", "3", "4"]


def test_a_live_model_without_parameters_or_in_double_precision():
    assert len(Session(model=nn.Sequential(nn.AvgPool2d(2))).run(torch.zeros(1, 3, 8, 8))) == 2
    session = Session(model=nn.Sequential(nn.Conv2d(3, 2, 3)).double())
    assert session.run(CAT, preprocessing=Preprocessing().whole(32))["0"].tensor.dtype == torch.float64


def test_a_live_model_that_was_moved_is_fed_where_it_is():
    model = Small()
    session = Session(model=model)
    session.run(torch.zeros(1, 3, 8, 8))
    model.to("meta")
    with pytest.raises(BackboneError, match="Small cannot run, because its parameters are on the meta device"):
        session.run(torch.zeros(1, 3, 8, 8))
    assert session.device.type == "meta"


def test_a_step_of_training_keeps_runs_of_other_threads_away():
    model = Small().train()
    session = Session(model=model)
    ran = threading.Event()
    model.conv.register_forward_hook(lambda *args: ran.set())
    with session.paused():
        other = threading.Thread(target=session.run, args=(torch.zeros(1, 3, 8, 8),))
        other.start()
        assert not ran.wait(0.1)
        assert model.training
    other.join(60)
    assert ran.is_set()


def test_a_model_of_one_size_has_its_stages_found_at_that_size():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 4, stride=4), nn.Conv2d(4, 4, 2, stride=2), nn.Flatten(), nn.Linear(4 * 8 * 8, 2)
    )
    capture = Session(model=model).run(torch.zeros(1, 3, 64, 64))
    assert {name: str(activation.layer) for name, activation in capture.taps.items()} == {"C2": "0", "C3": "1"}


def test_a_model_and_a_backbone_are_one_too_many():
    with pytest.raises(TypeError, match="no backbone"):
        Session("resnet18", model=Small())
    with pytest.raises(TypeError, match="no backbone"):
        Session(model=Small(), weights="random")


def test_what_is_no_model_or_no_function_is_told_apart_at_once():
    with pytest.raises(TypeError, match=r"torch\.nn\.Module and not a str"):
        Session(model="resnet18")
    with pytest.raises(TypeError, match="function and not a int"):
        Session(model=Small(), preprocess=224)


def test_a_model_that_waits_for_its_shapes_is_refused_until_it_has_them(write):
    model = nn.Sequential(nn.LazyConv2d(4, 3))
    with pytest.raises(BackboneError, match="Sequential has parameters without a shape"):
        Session(model=model)
    model(torch.zeros(1, 3, 8, 8))
    assert len(Session(model=model).run(torch.zeros(1, 3, 8, 8))) == 2
    path = write("from torch import nn\ndef build(): return nn.LazyConv2d(4, 3)")
    with pytest.raises(BackboneError, match=r"own/mine\.py:build has parameters without a shape"):
        Session(f"own:{path}:build")


# Pictures prepared by a function


def grey(image: PIL.Image.Image) -> Tensor:
    """(1, 20, 30), from -1 to 1"""
    return torch.from_numpy(np.asarray(image.convert("L").resize((30, 20)), dtype=np.float32))[None] / 127.5 - 1


def test_a_function_prepares_the_picture_and_the_whole_of_it_is_taken_to_be_seen():
    session = Session(model=nn.Sequential(nn.Conv2d(1, 2, 3, padding=1)), preprocess=grey)
    capture = session.run(CAT)
    assert tuple(capture["0"].tensor.shape) == (1, 2, 20, 30)
    geometry = capture.input.geometry
    assert (geometry.input_size, geometry.resized_size, geometry.crop_offset) == ((20, 30), (20, 30), (0, 0))
    assert geometry.to_input(*reversed(geometry.picture_size)) == (30, 20)
    assert session.facts(capture)["preprocessing"] == {"mode": "function", "function": "grey"}
    assert "grey" in capture.input.preprocessing.words()
    pixels = capture.input.pixels()
    assert (pixels.shape, pixels.dtype) == ((20, 30, 3), np.uint8)
    assert (pixels.min(), pixels.max()) == (0, 255)
    # The size is the function's affair, whatever the window asks for.
    assert session.preprocessing.whole(640) == session.preprocessing.at(32) == session.preprocessing


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda image: 1 / 0, "ZeroDivisionError"),
        (lambda image: sys.exit(), "SystemExit"),
        (lambda image: "text", "TypeError"),
        (lambda image: torch.zeros(2, 3, 8, 8), r"\(2, 3, 8, 8\) and type float32"),
        (lambda image: torch.zeros(8, 8), r"\(8, 8\)"),
        (lambda image: torch.zeros(3, 8, 8, dtype=torch.uint8), "type uint8"),
        (lambda image: torch.zeros(3, 0, 8), r"\(3, 0, 8\)"),
    ],
    ids=["raises", "exits", "text", "two", "flat", "bytes", "empty"],
)
def test_a_function_that_makes_no_input_is_told_what_to_give(function, words):
    session = Session(model=Small(), preprocess=function)
    with pytest.raises(BackboneError, match=words) as caught:
        session.run(CAT)
    assert "(1, 3, h, w)" in str(caught.value)


def test_what_a_function_gave_is_owned_and_not_finite_values_are_drawn():
    kept = torch.tensor([[[1.0, float("nan")], [float("inf"), 3.0]]]).expand(3, 2, 2)
    session = Session(model=nn.Sequential(nn.Identity()), preprocess=lambda image: kept)
    fed = session.run(CAT).input
    assert fed.tensor.untyped_storage().data_ptr() != kept.untyped_storage().data_ptr()
    assert fed.pixels()[..., 0].tolist() == [[0, 0], [255, 255]]


def test_pictures_are_exported_with_a_function(tmp_path):
    from fmviz.batch import export_pictures

    session = Session(model=nn.Sequential(nn.Conv2d(1, 2, 3)), preprocess=grey)
    (done,) = export_pictures(
        session, [CAT], tmp_path, layers=["0"], form="npz", colour_map="viridis", normalisation="map", size="map"
    )
    assert done.error is None
    assert len(done.files) == 1


def test_a_tensor_for_an_own_model_may_have_other_channels_but_is_one_picture():
    session = Session(model=nn.Sequential(nn.Conv2d(1, 2, 3)))
    assert session.run(torch.zeros(1, 1, 8, 8))["0"].tensor.shape == (1, 2, 6, 6)
    with pytest.raises(PictureError):
        session.run(torch.zeros(2, 1, 8, 8))


def test_the_public_names_are_there():
    assert fmviz.TrustError is TrustError
    assert callable(fmviz.show)
