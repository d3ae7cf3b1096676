"""An engine like any other, but for one thing: the weights of resnet18 are fetched from an address of the test's.

python engine_with_shop.py URL SHA256 NBYTES
"""

import dataclasses
import sys

from fmviz.networks import offers

url, sha256, nbytes = sys.argv[1:]
rows = dict(offers.published())
(offer,) = rows["resnet18"].offers
name = f"resnet18-{sha256[:8]}.pth"
offer = dataclasses.replace(offer, url=f"{url}/{name}", file_name=name, sha256=sha256[:8], nbytes=int(nbytes))
rows["resnet18"] = dataclasses.replace(rows["resnet18"], offers=(offer,))
offers.published = lambda: rows

from fmviz.engine.serve import serve_standard_streams  # noqa: E402 (the catalog is made when it is imported)

serve_standard_streams()
