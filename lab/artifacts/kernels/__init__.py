"""Where kernels come from: packages, built trees, images, and sources with patches."""
