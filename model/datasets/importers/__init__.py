"""Sources of datasets: real films, the demo's films, one's own tables."""
