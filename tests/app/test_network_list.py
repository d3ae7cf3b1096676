"""The list of networks as a model, filled again and again as it is each time that it is opened."""

from __future__ import annotations

import gc

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication

from fmviz.app.views.network_list import NetworkList
from fmviz.engine.messages import BackboneInfo

NETWORKS = [
    BackboneInfo(name=f"torchvision/net{number}", group="torchvision", family=f"Family {number % 17}")
    for number in range(300)
]


def test_the_list_can_be_filled_many_times(qapp: QApplication) -> None:
    """With PySide 6.12 the process died after about thirty times."""
    networks = NetworkList()
    # Collecting is fast where it looks at no objects but those of the loop.
    gc.freeze()
    for count in range(100, 300, 3):
        networks.set_networks(NETWORKS[:count], ["torchvision/net1", "torchvision/net2"])
        gc.collect()
        qapp.processEvents()
        assert networks.rowCount() == 18
        assert networks.index_of(f"torchvision/net{count - 1}").data() == f"torchvision/net{count - 1}"
    gc.unfreeze()


def test_numbers_and_their_headers_stand_at_the_right(qapp: QApplication) -> None:
    networks = NetworkList()
    networks.set_networks(NETWORKS[:1], [])
    right = (Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter).value
    role = Qt.ItemDataRole.TextAlignmentRole
    headers = [networks.headerData(column, Qt.Orientation.Horizontal, role) for column in range(5)]
    assert headers == [None, right, right, right, None]
    cells = [networks.index_of("torchvision/net0").siblingAtColumn(column).data(role) for column in range(4)]
    assert cells == [None, right, right, right]
