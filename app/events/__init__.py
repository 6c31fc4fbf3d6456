"""The durable log of user events, and its export."""
