"""`fmviz weights`: what is in the cache of weights, and what can be fetched into it."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from fmviz.errors import Cancelled, WeightsError

if TYPE_CHECKING:
    from fmviz.networks.backbone import Backbone
    from fmviz.networks.download import Fetching
    from fmviz.networks.kept import Cached
    from fmviz.networks.offers import Offer

HERE, IN_PART, TO_FETCH = "●", "◐", "↓"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fmviz weights",
        description="The trained weights on this computer: torch.hub's own cache, so that nothing is fetched twice.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what is in the cache, with sizes and networks")
    listing.add_argument("--all", action="store_true", help="also what could be fetched")
    fetching = actions.add_parser("fetch", help="download weights into the cache, and print the file's path")
    fetching.add_argument("backbone", metavar="BACKBONE", help="a network that `fmviz backbones` lists")
    _add_weights(fetching, "the best")
    path = actions.add_parser("path", help="print the folder of the cache, or the path of a file in it")
    path.add_argument("backbone", metavar="BACKBONE", nargs="?", help="a network that `fmviz backbones` lists")
    _add_weights(path, "the best that are here")
    removing = actions.add_parser("remove", help="delete a file from the cache, or those of a network")
    removing.add_argument(
        "target", metavar="FILE|BACKBONE", help="a file that `fmviz weights list` lists, or a network"
    )
    _add_weights(removing, "all that are here")
    removing.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _add_weights(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "weights", metavar="WEIGHTS", nargs="?", help=f"their name, such as IMAGENET1K_V2 (default: {default})"
    )


def _run(options: argparse.Namespace) -> int:
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list,
        "fetch": _fetch,
        "path": _path,
        "remove": _remove,
    }
    return actions[options.action](options)


COMMAND: tuple[Callable[[], argparse.ArgumentParser], Callable[[argparse.Namespace], int]] = (_parser, _run)
"""Its parser, and what it does; an exit code."""


# List


def _list(options: argparse.Namespace) -> int:
    from fmviz.networks import cache, kept

    files = kept.listed()
    rows = [_row(HERE if file.whole else IN_PART, file) for file in files]
    if options.all:
        rows += [_row(TO_FETCH, file) for file in _to_fetch()]
    _print_table(rows)
    if not rows:
        print(f"There are no weights in {cache.folder()}.", file=sys.stderr)
    return 0


def _row(mark: str, file: Cached) -> tuple[str, str, str, str, str]:
    from fmviz.networks.download import in_bytes

    return (
        mark,
        file.file_name,
        in_bytes(file.nbytes),
        file.offer or "–",
        ", ".join(file.backbones) or "no network known",
    )


def _to_fetch() -> Iterable[Cached]:
    """The files that could be fetched, as they would be in the cache."""
    from fmviz.networks import cache, catalog, kept

    files: dict[str, Cached] = {}
    for name in catalog.backbones():
        for offer in catalog.backbone(name).offers:
            if cache.is_here(offer):
                continue
            before = files[offer.file_name].backbones if offer.file_name in files else ()
            path, networks = cache.path_of(offer), (*before, name)
            files[offer.file_name] = kept.Cached(offer.file_name, path, offer.nbytes, networks, offer.name)
    return files.values()


def _print_table(rows: list[tuple[str, str, str, str, str]]) -> None:
    wide = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    for mark, file_name, size, offer, backbones in rows:
        print(f"{mark} {file_name:{wide[1]}}  {size:>{wide[2]}}  {offer:{wide[3]}}  {backbones}")


# Fetch and path


def _fetch(options: argparse.Namespace) -> int:
    from fmviz.networks import cache
    from fmviz.networks.catalog import backbone
    from fmviz.networks.download import fetch

    row = backbone(options.backbone)
    offer = _offer(row, options.weights) if options.weights else _best(row)
    if not offer.url:
        print(cache.path_of(offer))
        return 0
    with _progress(offer) as progress:
        path = fetch(offer, progress=progress, cancelled=lambda: False)
    print(path)
    return 0


@contextlib.contextmanager
def _progress(offer: Offer) -> Iterator[Callable[[Fetching], None]]:
    """How far it is, on a terminal; says nothing where stderr is none."""
    from tqdm import tqdm

    form = "{desc} {bar:20} {percentage:3.0f}%{postfix}"
    with tqdm(desc=offer.file_name, bar_format=form, leave=False, disable=not sys.stderr.isatty()) as bar:

        def show(fetching: Fetching) -> None:
            bar.total = fetching.total
            bar.n = fetching.done
            bar.set_postfix_str(in_words(fetching), refresh=True)

        yield show


def in_words(fetching: Fetching) -> str:
    """ "12.3 MB of 97.8 MB, 3.2 MB/s, 27 s left" """
    from fmviz.networks.download import in_bytes

    words = [in_bytes(fetching.done) + (f" of {in_bytes(fetching.total)}" if fetching.total is not None else "")]
    if fetching.speed:
        words.append(f"{in_bytes(round(fetching.speed))}/s")
    if fetching.left is not None:
        minutes, seconds = divmod(round(fetching.left), 60)
        words.append(f"{minutes} min {seconds} s left" if minutes else f"{seconds} s left")
    return ", ".join(words)


def _path(options: argparse.Namespace) -> int:
    from fmviz.networks import cache
    from fmviz.networks.catalog import backbone

    if not options.backbone:
        print(cache.folder())
        return 0
    row = backbone(options.backbone)
    here = (offer for offer in row.offers if cache.is_here(offer))
    offer = _offer(row, options.weights) if options.weights else next(here, _best(row))
    if not cache.is_here(offer) and offer.url:
        raise WeightsError(
            f"The weights {offer.name} of {row.name} are not on this computer: "
            f"`fmviz weights fetch {row.name} {offer.name}` fetches them."
        )
    print(cache.path_of(offer))
    return 0


def _offer(row: Backbone, name: str) -> Offer:
    offer = row.offer(name)
    if offer is None:
        names = " or ".join(offer.name for offer in row.offers)
        remedy = (
            f"choose {names}." if names else "nobody published any; it runs with random ones, or with a file of yours."
        )
        raise WeightsError(f"{row.name} has no weights called “{name}” to fetch: {remedy}")
    return offer


def _best(row: Backbone) -> Offer:
    if not row.offers:
        raise WeightsError(
            f"Nobody published weights for {row.name}: it runs with random ones, or with a file of yours."
        )
    return row.offers[0]


# Remove


def _remove(options: argparse.Namespace) -> int:
    from fmviz.networks import cache, kept
    from fmviz.networks.download import in_bytes

    files = _meant(options.target, options.weights)
    names = ", ".join(f"{file.file_name} ({in_bytes(file.nbytes)})" for file in files)
    if not options.yes:
        if not sys.stdin.isatty():
            print(f"fmviz weights: to remove {names} without being asked, say --yes.", file=sys.stderr)
            return 2
        print(f"Remove {names} from {cache.folder()}? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
            raise Cancelled("Nothing was removed.")
    for file in files:
        kept.remove(file.file_name)
        print(f"Removed {file.path}.")
    return 0


def _meant(target: str, weights: str | None) -> list[Cached]:
    """The files that are to go: the one called `target`, or those that the network of that name has here."""
    from fmviz.networks import cache, kept
    from fmviz.networks.catalog import backbone, backbones

    files = kept.listed()
    if weights is None and (named := [file for file in files if file.file_name == target]):
        return named
    if weights is None and target not in backbones() and "." in target:
        raise WeightsError(f"There is no file {target} in {cache.folder()}: `fmviz weights list` lists those that are.")
    row = backbone(target)
    offers = row.offers if weights is None else (_offer(row, weights),)
    wanted = {name for offer in offers if offer.url for name in (offer.file_name, cache.part_of(offer).name)}
    if not (here := [file for file in files if file.file_name in wanted]):
        what = f"The weights {offers[0].name}" if weights else "Weights"
        raise WeightsError(f"{what} of {row.name} are not in {cache.folder()}: there is nothing to remove.")
    return here
