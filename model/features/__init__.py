"""What a context and an entity have in common, as numbers."""
