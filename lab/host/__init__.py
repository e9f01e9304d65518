"""The machine the lab runs on: directories, processes, locks, QEMU and accelerator probing."""
