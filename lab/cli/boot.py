# SPDX-License-Identifier: GPL-2.0-or-later
"""`--boot`: how a guest begins."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Boot = Annotated[
    Literal["checkpoint", "cold"] | None,
    typer.Option(
        "--boot",
        help="checkpoint: begin from a checkpoint where there is one; cold: boot. "
        "Default: the profile's, checkpoint.",
    ),
]
