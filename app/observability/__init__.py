"""Metrics for operators, and ids of requests."""
