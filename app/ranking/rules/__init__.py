"""Rules that drop or demote candidates."""
