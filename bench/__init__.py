"""The benchmark of serving speed: our server and others with one model, one core, one load. Not part of the wheel."""
