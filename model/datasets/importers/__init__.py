"""Importers of datasets: film data sets, the demo's films, the user's own tables."""
