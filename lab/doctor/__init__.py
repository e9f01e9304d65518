"""What this host can do, found by trying; what mends what it cannot; what can be cleaned up."""
