"""Floor 0: what the product knows: contexts, entities, events, and how they become numbers."""
