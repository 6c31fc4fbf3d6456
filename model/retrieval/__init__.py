"""Floor 2: proposing candidates from the whole catalogue."""
