"""Images, kernels and initramfs as content-addressed artifacts."""
