"""Runs: their directories, events and documents."""
