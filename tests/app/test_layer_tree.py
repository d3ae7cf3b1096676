"""The tree of layers as Qt's own model tester sees it."""

from __future__ import annotations

import gc

from driving import until
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QApplication

from fmviz.app.views.layer_tree import LayerFilter, LayerTree
from fmviz.app.views.layers_view import LayersView
from fmviz.engine.messages import LayerInfo


def layer(path: str, call: int = 1, item: str = "", taps: tuple[str, ...] = (), kind: str = "Conv2d") -> LayerInfo:
    name = path + (f":{call}" if call > 1 else "") + item
    shape = (1, 8, 4, 4)
    return LayerInfo(
        name=name, path=path, call=call, item=item, kind=kind, shape=shape, stride=8.0, spatial=True, taps=taps
    )


LAYERS = [
    layer("body.conv"),
    layer("body.relu", kind="ReLU"),
    layer("body.block.conv"),
    layer("body.relu", 2, kind="ReLU"),
    layer("body.block", taps=("C3",), kind="Block"),
    layer("body", kind="Body"),
    layer("fpn", item="[P3]", taps=("P3",), kind="Pyramid"),
    layer("", kind="Net"),
]


def test_every_layer_is_found_by_its_name(qapp: QApplication) -> None:
    tree = LayerTree()
    QAbstractItemModelTester(tree, QAbstractItemModelTester.FailureReportingMode.Fatal, tree)
    tree.set_layers(LAYERS)
    assert tree.rowCount() == 3
    for info in LAYERS:
        assert tree.index_of(info.name).data(LayerTree.LayerRole) == info.name
    assert not tree.index_of("none").isValid()
    block = tree.index_of("body.block")
    assert block.parent() == tree.index_of("body")
    assert block.siblingAtColumn(1).data() == "8 × 4 × 4"
    assert block.siblingAtColumn(2).data() == "8"
    assert "C3" in block.data()
    assert block.data(Qt.ItemDataRole.FontRole).bold()
    tree.set_layers(LAYERS[:2])
    assert tree.rowCount() == 1


def test_modules_without_a_layer_of_their_own_cannot_be_chosen(qapp: QApplication) -> None:
    tree = LayerTree()
    tree.set_layers(LAYERS[:1])
    body = tree.index(0, 0, QModelIndex())
    assert not tree.flags(body) & Qt.ItemFlag.ItemIsSelectable
    assert tree.flags(tree.index_of("body.conv")) & Qt.ItemFlag.ItemIsSelectable


def test_the_filter_keeps_the_way_to_what_it_finds(qapp: QApplication) -> None:
    tree, proxy = LayerTree(), LayerFilter()
    tree.set_layers(LAYERS)
    proxy.setSourceModel(tree)
    QAbstractItemModelTester(proxy, QAbstractItemModelTester.FailureReportingMode.Fatal, proxy)
    for text, found in (
        ("relu", {"body.relu", "body.relu:2"}),
        ("P3", {"fpn[P3]"}),
        ("block conv", {"body.block.conv"}),
    ):
        proxy.set_text(text)
        shown = {info.name for info in LAYERS if proxy.mapFromSource(tree.index_of(info.name)).isValid()}
        assert found <= shown
        assert "body.conv" not in shown
    proxy.set_text("")
    assert proxy.rowCount() == tree.rowCount()


def test_what_stood_open_before_a_search_stands_open_after_it(qapp: QApplication) -> None:
    view = LayersView()
    view.set_layers(LAYERS)
    body = view.tree.model().index(0, 0)
    assert view.tree.isExpanded(body), "the way to a stage"
    view.tree.collapse(body)
    view.field.setText("relu")
    assert view.tree.isExpanded(view.tree.model().index(0, 0))
    view.field.setText("block")
    view.field.clear()
    assert not view.tree.isExpanded(view.tree.model().index(0, 0))
    view.field.setText("relu")
    view.set_layers(LAYERS)
    view.field.clear()
    assert not view.tree.isExpanded(view.tree.model().index(0, 0)), "another picture has the same layers"
    view.field.setText("relu")
    view.set_layers(LAYERS[:6])
    view.field.clear()
    assert view.tree.isExpanded(view.tree.model().index(0, 0)), "another network begins as it would without a search"
    view.deleteLater()


def test_all_rows_that_are_gone_are_cleared_away_in_the_end(qapp: QApplication) -> None:
    tree = LayerTree()
    tree.set_layers([layer(f"stage{number // 20}.conv{number}") for number in range(400)])
    tree.set_layers(LAYERS)
    assert tree._gone
    until(lambda: not tree._gone, "they are cleared away")
    assert not tree._clear_away_later.isActive()
    assert tree.rowCount() == 3


def test_the_tree_can_be_filled_many_times(qapp: QApplication) -> None:
    """Its items are taken out and deleted while the tree lives on."""
    tree = LayerTree()
    names = [f"body.{stage}.{block}.conv" for stage in range(6) for block in range(20)]
    # Collecting is fast where it looks at no objects but those of the loop.
    gc.freeze()
    for count in range(40, 120, 2):
        tree.set_layers([layer(name) for name in names[:count]])
        gc.collect()
        qapp.processEvents()
        assert tree.index_of(names[count - 1]).isValid()
    gc.unfreeze()
    assert tree.headerData(1, Qt.Orientation.Horizontal, Qt.ItemDataRole.TextAlignmentRole) is not None
