"""Where the parameters of a network came from, as it is told to whoever looks at its maps."""

from __future__ import annotations

from dataclasses import dataclass, field

from fmviz.networks.checksums import Checksum
from fmviz.preprocess import Preprocessing


@dataclass(frozen=True, slots=True)
class Weights:
    """Where the parameters of a network came from.

    Attributes:
        name: "imagenet", "random", or the file's name without its folder.
        checksum: of the file, or of the parts that it was joined from; None where all is random.
        seed: of whatever is random; None where nothing is.
        classes: what each logit stands for; () where the classifier is not trained on known classes.
        untrained: the parts that nobody trained: ("body",) or ("body", "pyramid") where all is random; else those of
            "classifier" and "pyramid" that the file did not have, or had otherwise.
        untrained_paths: where those parts are in the network, ("fpn",); () where nothing is random, or all.
        notes: what the user should know, a sentence each.
        preprocessing: what they want to be fed; None is what their network wants.
        trained_on: what the pyramid was trained on where that is no set of photographs: "drawn shapes"; else "".
    """

    name: str
    checksum: Checksum | None = field(default=None, compare=False)
    seed: int | None = None
    classes: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    trained_on: str = ""
    untrained_paths: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the file, in hex; "" where all is random, or the file was written anew before anybody asked."""
        return self.checksum.sha256 if self.checksum is not None else ""
