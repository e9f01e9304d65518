"""Suites: sets of cases run on a profile; a room for each, and what they share."""
