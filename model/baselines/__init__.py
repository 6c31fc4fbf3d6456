"""Floor 2: the specialists to beat."""
