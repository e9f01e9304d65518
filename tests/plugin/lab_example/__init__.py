"""What a package can add to the lab: docs/extending.md tells it step by step."""
