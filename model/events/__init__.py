"""What people did: the event table, timelines, parts, outcomes and what each person has met."""
