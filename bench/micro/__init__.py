"""Micro-benchmarks of the stages of one request, each timed alone, to locate regressions."""
