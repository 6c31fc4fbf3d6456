"""Studies that compare models on the same rankings."""
