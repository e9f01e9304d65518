"""The suite copy-faults: a copy is frozen at every point, broken there, and judged."""
