"""One experiment in each module, as an `EXPERIMENT`; some have the same on a hard size, `HARD`."""
