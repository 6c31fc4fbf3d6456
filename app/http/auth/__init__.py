"""Access control: API keys, scopes, rates."""
