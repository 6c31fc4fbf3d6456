"""The benchmark of serving speed: our server and others with the same model, core and load. Not part of the wheel."""
