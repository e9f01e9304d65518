"""Suites: sets of cases run on a profile."""
