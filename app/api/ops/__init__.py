"""What operators ask: health, limits, metrics, models, the documents."""
