"""When work is done and by whom: admission, turns of the event loop, the worker thread."""
