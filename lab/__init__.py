"""A QEMU test lab that shows what copy offload does when it fails half-way."""

__version__ = "0.2.0"
