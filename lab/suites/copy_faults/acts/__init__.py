"""What is done to a held copy, and what must be seen afterwards."""
