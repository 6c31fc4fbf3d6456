"""Floor 3: events that people caused, kept durably."""
