"""The suite conformance: the same cases on several paths, compared with the reference."""
