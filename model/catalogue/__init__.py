"""Entities as numbers: encoding, ids, records and the table that workers share."""
