"""Neutral greys and one accent, light and dark: no colour of ours is mistaken for data."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QPalette

from fmviz.app.state import Appearance

ACCENT_DARK = QColor(255, 159, 64)
ACCENT_LIGHT = QColor(200, 92, 0)

LEVEL_COLOURS = {
    # After Okabe and Ito: told apart by those who see fewer colours, too; drawn over a dark seam on any picture.
    "P2": QColor(86, 180, 233),
    "P3": QColor(64, 205, 150),
    "P4": QColor(240, 228, 66),
    "P5": QColor(230, 130, 180),
}

_ROLES = {
    # role: (light, dark)
    QPalette.ColorRole.Window: ("#ececec", "#393939"),
    QPalette.ColorRole.WindowText: ("#1c1c1c", "#e4e4e4"),
    QPalette.ColorRole.Base: ("#fafafa", "#222222"),
    QPalette.ColorRole.AlternateBase: ("#f1f1f1", "#292929"),
    QPalette.ColorRole.ToolTipBase: ("#fdfdfd", "#4a4a4a"),
    QPalette.ColorRole.ToolTipText: ("#1c1c1c", "#e4e4e4"),
    QPalette.ColorRole.Text: ("#1c1c1c", "#e4e4e4"),
    QPalette.ColorRole.PlaceholderText: ("#767676", "#8f8f8f"),
    QPalette.ColorRole.Button: ("#e4e4e4", "#464646"),
    QPalette.ColorRole.ButtonText: ("#1c1c1c", "#e4e4e4"),
    QPalette.ColorRole.BrightText: ("#ffffff", "#ffffff"),
    QPalette.ColorRole.Light: ("#ffffff", "#5c5c5c"),
    QPalette.ColorRole.Midlight: ("#f4f4f4", "#505050"),
    QPalette.ColorRole.Mid: ("#bdbdbd", "#5e5e5e"),
    QPalette.ColorRole.Dark: ("#a0a0a0", "#1b1b1b"),
    QPalette.ColorRole.Shadow: ("#6e6e6e", "#000000"),
    QPalette.ColorRole.Link: ("#9a4700", "#ffb366"),
}


def is_dark(appearance: Appearance) -> bool:
    """Whether the window is to be dark: as chosen, or as the system is."""
    if appearance != "system":
        return appearance == "dark"
    hints = QGuiApplication.styleHints()
    return hints.colorScheme() == Qt.ColorScheme.Dark


def accent(*, dark: bool) -> QColor:
    """The colour of what is selected, the same in every view."""
    return QColor(ACCENT_DARK if dark else ACCENT_LIGHT)


def palette(*, dark: bool) -> QPalette:
    """The application's palette."""
    made = QPalette()
    for role, (light, night) in _ROLES.items():
        made.setColor(role, QColor(night if dark else light))
    chosen = accent(dark=dark)
    made.setColor(QPalette.ColorRole.Highlight, chosen)
    made.setColor(QPalette.ColorRole.HighlightedText, QColor("#1c1c1c" if dark else "#ffffff"))
    made.setColor(QPalette.ColorRole.Accent, chosen)
    faint = QColor("#858585" if dark else "#9a9a9a")
    for role in (QPalette.ColorRole.WindowText, QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText):
        made.setColor(QPalette.ColorGroup.Disabled, role, faint)
    for role in (QPalette.ColorRole.Highlight, QPalette.ColorRole.Accent):
        made.setColor(QPalette.ColorGroup.Disabled, role, QColor("#5c5c5c" if dark else "#b8b8b8"))
    return made


def numbers_font() -> QFont:
    """The platform's font with figures of equal width, so that columns of numbers line up."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
    font.setFeature(QFont.Tag("tnum"), 1)
    return font


def bold_font() -> QFont:
    """For a title. A style sheet would do as well, but what has one does not follow from light to dark."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
    font.setWeight(QFont.Weight.DemiBold)
    return font
