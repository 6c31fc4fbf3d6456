"""User events: the event table, timelines, parts, outcomes, and the entities that each user has seen."""
