"""Floor 1: the one shared ranking network."""
