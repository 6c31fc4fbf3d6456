"""Match features: how a context and an entity relate, as numbers."""
