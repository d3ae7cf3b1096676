"""Shared memory is lent, taken back, and never left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from fmviz.app.blocks import BlockPool, SharedPixels, remove_abandoned
from fmviz.engine.messages import Pixels


def test_what_is_written_to_the_file_is_seen_in_the_array() -> None:
    pool = BlockPool()
    block = pool.lend(6)
    with open(block.name, "r+b") as file:
        file.write(bytes(range(8)))
    assert block.array((2, 3)).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert block.array((2,), 6).tolist() == [6, 7]
    pool.close()


def test_a_block_that_is_shown_is_not_lent_again() -> None:
    pool = BlockPool()
    shown = SharedPixels.of(Pixels(shape=(4,)), pool.lend(4))
    other = pool.lend(4)
    assert shown.block is not None
    assert other.name != shown.block.name
    pool.close()


def test_a_block_that_nobody_holds_is_lent_again() -> None:
    pool = BlockPool()
    name = pool.lend(1000).name
    assert pool.lend(900).name == name
    pool.close()


def test_a_large_block_is_not_spent_on_a_small_request() -> None:
    pool = BlockPool()
    large = pool.lend(1 << 24).name
    assert pool.lend(100).name != large
    assert pool.lend(1 << 23).name == large
    pool.close()


def test_few_files_are_kept_for_later() -> None:
    pool = BlockPool()
    blocks = [pool.lend(10) for _ in range(30)]
    folder = Path(blocks[0].name).parent
    del blocks
    assert len(list(folder.iterdir())) <= 8
    pool.close()


def test_arrays_stay_valid_after_the_files_are_gone() -> None:
    pool = BlockPool()
    block = pool.lend(3)
    array = block.array((3,))
    array[:] = 7
    folder = Path(block.name).parent
    pool.close()
    assert not folder.exists()
    assert array.tolist() == [7, 7, 7]


def test_bytes_in_the_reply_need_no_block() -> None:
    pixels = SharedPixels.of(Pixels(shape=(1, 2), data=b"\x01\x02"), None)
    assert pixels.array.tolist() == [[1, 2]]
    assert pixels.array.dtype == np.uint8


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folders = [tmp_path / f"fmviz-blocks-{number}-x" for number in (gone.pid, os.getpid(), "strange")]
    for folder in (*folders, tmp_path / "other"):
        folder.mkdir()
        (folder / "1").write_bytes(b"x")
    remove_abandoned(tmp_path)
    assert [folder.exists() for folder in folders] == [False, True, True]
    assert (tmp_path / "other").exists()
