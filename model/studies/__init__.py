"""Floor 2: studies that compare models on the same rows."""
