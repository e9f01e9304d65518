"""QEMU: argv, block graph, process, QMP, console."""
