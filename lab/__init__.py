"""A QEMU test lab that shows what copy offload does when it fails half-way."""

from pathlib import Path

__version__ = "0.2.0"

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: shipped profiles, images and guest scripts live beside the package."""
