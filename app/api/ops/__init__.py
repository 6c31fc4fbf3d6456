"""Routes for operators: health, limits, metrics, models, API documents."""
