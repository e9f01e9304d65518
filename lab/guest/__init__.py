"""The Linux inside: SSH session, executor, kernel log."""
