"""Entity records in three tiers: process memory, then Redis, then computed."""
