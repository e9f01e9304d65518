"""The store: what all runs came to, in a database that can be asked and compared."""
