"""The suite fstests: its own `check`, driven."""
