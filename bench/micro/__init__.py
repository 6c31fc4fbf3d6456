"""The stages of one request, each timed alone, so that a regression shows where it is."""
