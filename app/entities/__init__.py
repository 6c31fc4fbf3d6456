"""Where entity records live: process memory, then Redis, then computed."""
