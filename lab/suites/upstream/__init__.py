"""The driving of suites that come from elsewhere, in a tree that somebody has built."""
