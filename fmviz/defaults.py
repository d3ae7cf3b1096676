"""What is chosen where the user chose nothing. Needs neither Qt nor torch."""

from __future__ import annotations

BACKBONE = "efficientnet_lite0_fpn"
"""Its body is trained, and comes as a package: the first start shows a trained network without any download."""
