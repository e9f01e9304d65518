"""Suites that run while faults are made: which, how, and whether what they leave recovers."""
