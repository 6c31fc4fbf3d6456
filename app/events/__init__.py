"""Events that people caused, kept durably."""
