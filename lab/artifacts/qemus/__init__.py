"""Where QEMUs come from: the host, a package, a build tree, a path."""
