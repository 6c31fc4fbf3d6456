"""Entities as arrays: encoding, ids, records, and the record table that processes share."""
