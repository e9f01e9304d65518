"""The suites fsx and fsstress: the lab's own exerciser with its model on the host, and programs."""
