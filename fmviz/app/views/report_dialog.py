"""Says that something of ours went wrong, what is safe, and offers a report of it."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QStyle,
    QWidget,
)

from fmviz.app.theme import bold_font, numbers_font


class ReportDialog(QDialog):
    gone_on = Signal()
    """The user has read it."""

    def __init__(self, what: str, report: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Something went wrong"))
        self.setMinimumWidth(600)
        self._reports, self._count = [report], 1
        self._title = QLabel(self)
        self._title.setFont(bold_font())
        self._what = QLabel(what, self)
        safe = QLabel(
            self.tr(
                "What is shown is still right, and files that were written are whole. You can go on. If it happens again, "
                "close fmviz and start it anew: pictures and network are as they were."
            ),
            self,
        )
        private = QLabel(
            self.tr("The report holds versions and places in the code, no names or paths of your files:"), self
        )
        for label in (self._title, self._what, safe, private):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
        self.report = QPlainTextEdit(report, self)
        self.report.setReadOnly(True)
        self.report.setFont(numbers_font())
        self.report.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.report.setTabChangesFocus(True)
        self.report.setMinimumHeight(140)
        self.copy = QPushButton(self.tr("&Copy report"), self)
        self.copy.setAutoDefault(False)
        self.copy.clicked.connect(self._copied)
        self.go_on = QPushButton(self.tr("&Go on"), self)
        self.go_on.setDefault(True)
        self.go_on.clicked.connect(self.accept)
        buttons = QDialogButtonBox(self)
        buttons.addButton(self.copy, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.addButton(self.go_on, QDialogButtonBox.ButtonRole.AcceptRole)
        icon = QLabel(self)
        size = self.style().pixelMetric(QStyle.PixelMetric.PM_LargeIconSize)
        icon.setPixmap(self.style().standardIcon(QStyle.StandardPixmap.SP_MessageBoxWarning).pixmap(size, size))
        layout = QGridLayout(self)
        layout.setColumnStretch(1, 1)
        layout.setHorizontalSpacing(14)
        layout.addWidget(icon, 0, 0, 2, 1, Qt.AlignmentFlag.AlignTop)
        for row, widget in enumerate((self._title, self._what, safe, private)):
            layout.addWidget(widget, row, 1)
        layout.addWidget(self.report, 4, 0, 1, 2)
        layout.addWidget(buttons, 5, 0, 1, 2)
        self.finished.connect(lambda _result: self.gone_on.emit())
        self._entitle()
        self.go_on.setFocus()

    @property
    def text(self) -> str:
        """What *Copy report* copies."""
        return "\n\n".join(self._reports)

    def also(self, report: str) -> None:
        """It happened again while this was open."""
        self._reports.append(report)
        # A fault at every paint would fill the memory.
        del self._reports[5:]
        self._count += 1
        self.report.setPlainText(self.text)
        self._entitle()

    def _entitle(self) -> None:
        count = self._count
        text = self.tr("fmviz made a mistake.")
        if count > 1:
            text = self.tr("fmviz made {count} mistakes.").format(count=count)
        self._title.setText(text)

    def _copied(self) -> None:
        QGuiApplication.clipboard().setText(self.text)
        self.copy.setText(self.tr("Copied"))
