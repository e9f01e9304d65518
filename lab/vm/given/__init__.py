"""Devices of the host that a guest is given."""
