"""Evaluation of rankings: metrics, protocols and reports."""
