"""When and where work runs: admission control, event loop scheduler, worker thread, garbage collector settings."""
