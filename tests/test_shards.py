"""Checkpoints in parts: joined by their index, a part or their folder, or refused with the part that is wrong."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

import fmviz
from fmviz.cli import main
from fmviz.errors import WeightsError
from fmviz.networks import shards
from fmviz.networks.catalog import backbone
from fmviz.networks.checkpoints import read_checkpoint, read_tensors
from fmviz.networks.proposing import propose
from fmviz.networks.shards import INDEX_PATTERNS, checkpoint_files, files_of, holds_checkpoint, is_index
from fmviz.networks.weights import load

State = dict[str, Tensor]
STATE: State = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2), "b.weight": torch.zeros(3)}
MAP = {"a.weight": 1, "a.bias": 1, "b.weight": 2}


def part(number: int, *, of: int = 2, form: str = "safetensors") -> str:
    return {
        "safetensors": f"model-{number:05d}-of-{of:05d}.safetensors",
        "bin": f"pytorch_model-{number:05d}-of-{of:05d}.bin",
    }[form]


def index_of(form: str = "safetensors") -> str:
    return {"safetensors": "model.safetensors.index.json", "bin": "pytorch_model.bin.index.json"}[form]


def write_part(path: Path, state: State) -> None:
    safetensors.torch.save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)


def write(
    folder: Path, state: State, numbers: dict[str, int], *, form: str = "safetensors", index: bool = True
) -> Path:
    """The parts with the tensors of their number, and the index; the folder."""
    folder.mkdir(exist_ok=True)
    of = max(numbers.values())
    for number in range(1, of + 1):
        write_part(
            folder / part(number, of=of, form=form), {key: state[key] for key in state if numbers[key] == number}
        )
    if index:
        listed = {key: part(number, of=of, form=form) for key, number in numbers.items()}
        write_index(folder / index_of(form), listed)
    return folder


def write_index(path: Path, listed: object) -> None:
    path.write_text(json.dumps({"metadata": {"total_size": 44}, "weight_map": listed}), encoding="utf-8")


def equal(found: State, wanted: State) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in wanted)


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.endswith(".")
    assert message.isprintable()
    assert str(path.parent) not in message
    return message


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_parts_are_joined_whichever_file_is_given(form: str, index: bool, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", STATE, MAP, form=form, index=index)
    given = [folder, *sorted(folder.iterdir())]
    assert len(given) == 3 + index
    name = index_of(form) if index else part(1, form=form)
    for path in given:
        assert equal(read_tensors(path), STATE)
        assert read_checkpoint(path).name == name


def test_the_checksum_is_that_of_sha256sums_lines(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", STATE, MAP)
    lines = "".join(
        f"{hashlib.sha256((folder / part(number)).read_bytes()).hexdigest()}  {part(number)}\n" for number in (1, 2)
    )
    checksum = read_checkpoint(folder).checksum
    assert checksum.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert checksum.nbytes == sum((folder / part(number)).stat().st_size for number in (1, 2))
    late = read_checkpoint(folder / part(2)).checksum
    write_part(folder / part(1), {"a.weight": torch.zeros(1)})
    assert late.sha256 == ""


def test_a_session_takes_parts_by_index_part_and_folder(tmp_path: Path) -> None:
    state = dict(load(backbone("resnet18"), "random", seed=1)[0].state_dict())
    keys = list(state)
    folder = write(tmp_path / "resnet", state, {key: 1 + (at > 60) for at, key in enumerate(keys)})
    sums = set()
    for path in (folder, folder / index_of(), folder / part(2), os.fspath(folder)):
        session = fmviz.Session("resnet18", weights=path, device="cpu")
        assert equal(dict(session.model.state_dict()), state)
        assert (session.weights.name, session.weights.notes) == (index_of(), ())
        sums.add(session.weights.sha256)
    assert len(sums) == 1
    assert propose(folder)[0].backbone == "resnet18"


def test_the_command_takes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = dict(load(backbone("resnet18"), "random", seed=1)[0].state_dict())
    folder = write(tmp_path / "resnet", state, {key: 1 + ("layer4" in key) for key in state})
    from fmviz.assets import asset

    command = [
        "export",
        str(asset("samples/chelsea.png")),
        "--backbone",
        "resnet18",
        "--crop",
        "64",
        "--layers",
        "conv1",
    ]
    assert main([*command, "-o", str(tmp_path / "out"), "--weights", str(folder)]) == 0
    (folder / part(2)).unlink()
    assert main([*command, "-o", str(tmp_path / "out"), "--weights", str(folder)]) == 1
    assert f"{part(2)} is not next to it" in capsys.readouterr().err


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", STATE, MAP)
    (folder / part(2)).unlink()
    for path in (folder, folder / index_of(), folder / part(1)):
        assert refusal(path) == (
            f"{index_of()} lists 2 parts, and {part(2)} is not next to it: download that part into the same folder."
        )
    (folder / index_of()).unlink()
    for path in (folder, folder / part(1)):
        assert refusal(path) == (
            f"{part(1)} is one of 2 parts, and {part(2)} is not next to it: download that part into the same folder."
        )


def test_several_missing_parts_are_counted(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", {key: torch.ones(1) for key in "abcd"}, {"a": 1, "b": 2, "c": 3, "d": 4})
    for number in (2, 4):
        (folder / part(number, of=4)).unlink()
    assert "lists 4 parts, and 2 of them are not next to it (such as model-00002-of-00004.safetensors)" in refusal(
        folder
    )


def test_a_part_that_was_cut_off_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", STATE, MAP)
    with (folder / part(2)).open("r+b") as file:
        file.truncate(20)
    assert refusal(folder) == f"{part(2)} is broken or was cut off: download or copy it again."


def test_code_in_a_part_is_not_run(tmp_path: Path) -> None:
    class Opener:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
            return open, (str(tmp_path / "was-here"), "w")

    folder = write(tmp_path / "model", STATE, MAP, form="bin")
    torch.save({"b.weight": Opener()}, folder / part(2, form="bin"))
    assert f"{part(2, form='bin')} was not loaded, for it could run code" in refusal(folder)
    assert not (tmp_path / "was-here").exists()


NAMES = [
    "../model-00002-of-00002.safetensors",
    "/etc/passwd",
    "sub/model.safetensors",
    "sub\\model.safetensors",
    "C:model.safetensors",
    "..",
    ".",
    "",
    "a\0b",
    "x" * 300,
    7,
    None,
    ["model-00002-of-00002.safetensors"],
]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_part_outside_of_the_folder_is_refused(name: object, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", STATE, MAP)
    write_part(tmp_path / part(2), {"b.weight": torch.zeros(3)})
    (folder / "sub").mkdir()
    write_part(folder / "sub" / "model.safetensors", {"b.weight": torch.zeros(3)})
    write_index(folder / index_of(), {"a.weight": part(1), "b.weight": name})
    message = refusal(folder / index_of())
    assert "which is not a file in its own folder" in message or "gives no file name for b.weight" in message
    # The index is not asked for a file that stands alone under another name.
    write_part(folder / "alone.safetensors", {"c": torch.ones(1)})
    assert read_tensors(folder / "alone.safetensors").keys() == {"c"}


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", STATE, MAP)
    elsewhere = tmp_path / "elsewhere.safetensors"
    (folder / part(2)).rename(elsewhere)
    (folder / part(2)).symlink_to(elsewhere)
    for path in (folder, folder / index_of(), folder / part(1)):
        assert f"has the part {part(2)}, which is a link to another folder" in refusal(path)


def test_links_of_a_hugging_face_cache_are_followed(tmp_path: Path) -> None:
    """There the index and the parts of a snapshot are links into one folder of blobs."""
    blobs = write(tmp_path / "blobs", STATE, MAP)
    snapshot = tmp_path / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(blobs.iterdir())):
        path.rename(blobs / f"blob{number}")
        (snapshot / path.name).symlink_to(blobs / f"blob{number}")
    for path in (snapshot, *snapshot.iterdir()):
        assert equal(read_tensors(path), STATE)
    (blobs / "blob1").unlink()
    assert "is not next to it" in refusal(snapshot)


def test_one_file_under_two_names_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", STATE, MAP)
    (folder / part(2)).unlink()
    os.link(folder / part(1), folder / part(2))
    assert "which are one file" in refusal(folder)


@pytest.mark.parametrize("index", [True, False])
def test_a_tensor_in_two_parts_is_refused(index: bool, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", STATE, MAP, index=index)
    write_part(folder / part(2), {"b.weight": torch.zeros(3), "a.bias": torch.zeros(2)})
    assert f"has “a.bias” in two parts, {part(1)} and {part(2)}" in refusal(folder)


def test_a_tensor_that_its_part_lacks_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", STATE, MAP)
    write_index(folder / index_of(), {"a.weight": part(1), "c.weight": part(1), "b.weight": part(2)})
    assert f"{part(1)} does not hold “c.weight”, which {index_of()} lists there" in refusal(folder)


def test_a_tensor_that_the_index_does_not_list_is_taken_and_said(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", STATE, MAP)
    write_index(folder / index_of(), {"a.weight": part(1), "b.weight": part(2)})
    found = read_checkpoint(folder)
    assert equal(found.tables[0].tensors, STATE)
    assert found.notes == (f"A tensor of its parts (a.bias) is not in the index {index_of()}.",)


INDICES = {
    "no JSON": (b"{'weight_map': 1}", "is broken or was cut off"),
    "cut off": (b'{"weight_map": {"a.weight": "mod', "is broken or was cut off"),
    "no text": (b'{"\xff\xfe": 1}', "is broken or was cut off"),
    "empty": (b"", "is broken or was cut off"),
    "deep": (b"[" * 200_000 + b"]" * 200_000, "is broken or was cut off"),
    "a long number": (b'{"weight_map": ' + b"9" * 10_000 + b"}", "is broken or was cut off"),
    "a list": (b"[]", "is a JSON file without a list of weights"),
    "no map": (b'{"metadata": {}}', "is a JSON file without a list of weights"),
    "an empty map": (b'{"weight_map": {}}', "is a JSON file without a list of weights"),
    "a map that is a list": (b'{"weight_map": ["a"]}', "is a JSON file without a list of weights"),
    "a key twice": (b'{"weight_map": {"a": "x.bin", "a": "y.bin"}}', "lists a twice"),
    "many parts": (
        json.dumps({"weight_map": {f"k{number}": f"{number}.bin" for number in range(1001)}}).encode(),
        "has 1,001 parts, and 1,000 can be joined",
    ),
    "another encoding": (json.dumps({"weight_map": {"a": "x.bin"}}).encode("utf-16"), "is broken or was cut off"),
}


@pytest.mark.parametrize("kind", INDICES)
def test_an_index_that_is_none_is_refused(kind: str, tmp_path: Path) -> None:
    content, words = INDICES[kind]
    (tmp_path / index_of()).write_bytes(content)
    for path in (tmp_path / index_of(), tmp_path):
        with pytest.raises(WeightsError, match=words) as caught:
            read_checkpoint(path)
        assert str(caught.value).isprintable()


def test_a_huge_index_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / index_of()).open("wb") as file:
        file.truncate(shards.LARGEST_INDEX + 1)
    assert "which no index of weights is" in refusal(tmp_path / index_of())


def test_an_index_that_is_a_pipe_does_not_hold_anything_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / index_of())
    assert "is a pipe or a device" in refusal(tmp_path / index_of())
    write_part(tmp_path / "alone.safetensors", STATE)
    assert equal(read_tensors(tmp_path / "alone.safetensors"), STATE)
    os.mkfifo(tmp_path / part(2))
    write_part(tmp_path / part(1), {"a": torch.ones(1)})
    (tmp_path / index_of()).unlink()
    assert f"{part(2)} is a pipe or a device" in refusal(tmp_path / part(1))


def test_parts_larger_than_free_memory_are_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", STATE, MAP)
    with (folder / part(2)).open("r+b") as file:
        file.truncate(1 << 40)  # sparse: it takes no room on the disk
    assert "of memory are free" in refusal(folder)


# Names that only look like parts


@pytest.mark.parametrize("name", ["fold-1-of-5.pth", "model-00003-of-00002.bin", "model-00001-of-00001.safetensors"])
def test_a_whole_file_that_is_called_like_a_part_is_read_alone(name: str, tmp_path: Path) -> None:
    write_part(tmp_path / name, STATE)
    assert equal(read_tensors(tmp_path / name), STATE)


def test_a_part_by_any_name_is_known_by_the_index(tmp_path: Path) -> None:
    write_part(tmp_path / "first.bin", {"a.weight": STATE["a.weight"], "a.bias": STATE["a.bias"]})
    write_part(tmp_path / "second.bin", {"b.weight": STATE["b.weight"]})
    listed = {"a.weight": "first.bin", "a.bias": "first.bin", "b.weight": "second.bin"}
    write_index(tmp_path / "pytorch_model.bin.index.json", listed)
    assert equal(read_tensors(tmp_path / "second.bin"), STATE)


def test_more_parts_than_can_be_joined_are_refused_by_name(tmp_path: Path) -> None:
    write_part(tmp_path / "m-00001-of-99999.bin", STATE)
    assert "has 99,999 parts, and 1,000 can be joined" in refusal(tmp_path / "m-00001-of-99999.bin")


# Folders


def test_a_folder_with_one_file_of_weights_is_that_file(tmp_path: Path) -> None:
    write_part(tmp_path / "best.pth", STATE)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert equal(read_tensors(tmp_path), STATE)
    write_part(tmp_path / "last.pth", STATE)
    assert f"The folder {tmp_path.name} holds 2 checkpoints (best.pth, last.pth): choose one of them." in refusal(
        tmp_path
    )
    write_part(tmp_path / "model.safetensors", STATE)
    assert read_checkpoint(tmp_path).name == "model.safetensors"


def test_of_two_forms_the_safetensors_are_taken(tmp_path: Path) -> None:
    write(tmp_path, STATE, MAP, form="bin")
    write(tmp_path, STATE, MAP)
    assert read_checkpoint(tmp_path).name == index_of()
    assert read_checkpoint(tmp_path / part(1, form="bin")).name == index_of("bin")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    assert "is a folder without weights files" in refusal(tmp_path)
    (tmp_path / "__0_0.distcp").touch()
    assert "is a checkpoint of torch.distributed" in refusal(tmp_path)


def test_a_folder_is_one_of_weights_unless_it_holds_pictures(tmp_path: Path) -> None:
    assert not holds_checkpoint(tmp_path)
    (tmp_path / "a.pth").touch()
    (tmp_path / "b.png").touch()
    assert not holds_checkpoint(tmp_path, unless=(".png",))
    assert holds_checkpoint(tmp_path)
    (tmp_path / index_of()).touch()
    assert holds_checkpoint(tmp_path, unless=(".png",))


def test_all_files_of_a_checkpoint_are_listed(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", STATE, MAP)
    wanted = (folder / index_of(), folder / part(1), folder / part(2))
    for path in (folder, *wanted):
        assert files_of(str(path)) == wanted
    (folder / part(2)).unlink()
    assert files_of(str(folder / part(1))) == (folder / part(1),)
    assert files_of("a\0b") == (Path("a\0b"),)
    assert checkpoint_files(tmp_path / "nowhere.pth").parts == (tmp_path / "nowhere.pth",)


def test_finding_the_files_imports_no_torch() -> None:
    code = "import sys, fmviz.networks.shards; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "False"


def test_the_file_dialog_lists_every_kind_of_index() -> None:
    names = ("model.safetensors.index.json", "model.safetensors.index.fp16.json", "pytorch_model.bin.index.json")
    others = ("config.json", "index.json", "model.safetensors")
    for name in names + others:
        assert is_index(Path(name)) is any(fnmatch(name, pattern) for pattern in INDEX_PATTERNS) is (name in names)


def settle(*paths: Path) -> None:
    """Let the last change of files and folders be an hour ago, and each time another."""
    for path in paths:
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 3_600_000_000_000))


def test_files_of_an_unchanged_folder_are_not_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "model", STATE, MAP)
    (folder / "other.safetensors").write_bytes(b"")
    (folder / "broken.index.json").write_text("{")
    settle(folder / "broken.index.json", folder / index_of(), folder)
    wanted = (folder / index_of(), folder / part(1), folder / part(2))
    assert files_of(str(folder / "other.safetensors")) == (folder / "other.safetensors",)
    assert files_of(str(folder / index_of())) == wanted
    scans: list[object] = []
    scandir, loads = os.scandir, json.loads
    monkeypatch.setattr(shards.os, "scandir", lambda path: scans.append(path) or scandir(path))
    monkeypatch.setattr(shards.json, "loads", lambda *texts, **how: scans.append(texts) or loads(*texts, **how))
    for _ in range(3):
        assert files_of(str(folder / "other.safetensors")) == (folder / "other.safetensors",)
        assert files_of(str(folder / index_of())) == wanted
        with pytest.raises(WeightsError, match="is broken"):
            checkpoint_files(folder / "broken.index.json")
    assert scans == []


def test_a_folder_or_index_that_changed_is_looked_at_again(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("a.safetensors", "b.safetensors"):
        (folder / name).write_bytes(name.encode())
    index = folder / "x.index.json"
    alone = (folder / "a.safetensors",)
    settle(folder)
    assert files_of(str(alone[0])) == alone
    index.write_text(json.dumps({"weight_map": {"k": "a.safetensors"}}))
    assert files_of(str(alone[0])) == (index, *alone)
    settle(index, folder)
    assert files_of(str(alone[0])) == (index, *alone)
    # In place, which does not change the folder, with as many bytes.
    index.write_text(json.dumps({"weight_map": {"k": "b.safetensors"}}))
    assert files_of(str(alone[0])) == alone
    index.unlink()
    assert files_of(str(folder / "b.safetensors")) == (folder / "b.safetensors",)
