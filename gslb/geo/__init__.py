"""Where clients are: databases flattened, places ranked, and the location table that every executor maps."""
