"""The suite blktests: its own `check`, driven."""
