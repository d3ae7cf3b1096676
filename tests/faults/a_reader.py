"""Reads mutants of pictures, one after the other, and prints what is wrong: JSON, a line for each finding and one at the end.

    python a_reader.py COUNT SEED [tiffs]

With "tiffs", of TIFFs of layouts that Pillow does not write; else of pictures of seven formats.
Before each it prints its number, so that whoever listens knows which one a crash came from. The files in `found/`, which once
were too much, come first, with negative numbers.
"""

from __future__ import annotations

import itertools
import json
import resource
import sys
import time
from pathlib import Path

from mutants import mutants, pictures, tiffs

from fmviz.errors import PictureError
from fmviz.pictures import read_picture
from fmviz.preprocess import IMAGENET, preprocess

FOUND = Path(__file__).with_name("found")


def resident() -> float:
    """The most MB that the process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


seeds = tiffs() if sys.argv[3:] == ["tiffs"] else pictures()
for whole in seeds:
    preprocess(read_picture(whole), IMAGENET)
base, slowest, refused = resident(), 0.0, 0
most = base + 512
found = [(-number, path.read_bytes()) for number, path in enumerate(sorted(FOUND.iterdir()), start=1)]
for number, data in itertools.chain(found, mutants(seeds, int(sys.argv[1]), int(sys.argv[2]))):
    print(number, flush=True)
    begun = time.perf_counter()
    try:
        picture = read_picture(data, name="mutant")
        _ = picture.at_least(32), picture.pixels
        preprocess(picture, IMAGENET)
    except PictureError as error:
        refused += 1
        if "\n" in str(error) or not str(error).startswith("mutant "):
            print(json.dumps({"number": number, "what": f"no sentence: {error}"}), flush=True)
    except BaseException as error:
        print(json.dumps({"number": number, "what": f"{type(error).__name__}: {error}"}), flush=True)
    taken = time.perf_counter() - begun
    slowest = max(slowest, taken)
    if resident() > most:
        print(json.dumps({"number": number, "what": f"held {resident() - base:.0f} MB"}), flush=True)
        most = resident()
    if taken > 2:
        print(json.dumps({"number": number, "what": f"took {taken:.1f} s"}), flush=True)
print(json.dumps({"end": True, "slowest": slowest, "refused": refused}), flush=True)
