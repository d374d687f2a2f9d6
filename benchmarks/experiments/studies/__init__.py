"""One experiment in each module, as an `EXPERIMENT`."""
