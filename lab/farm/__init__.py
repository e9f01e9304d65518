"""Plans: many runs, one after the other, unattended."""
