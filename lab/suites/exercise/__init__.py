"""The lab's own exerciser: operations on a file of a guest, and a model of it on the host."""
