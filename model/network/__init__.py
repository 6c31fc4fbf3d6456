"""The ranking network that all tasks share."""
