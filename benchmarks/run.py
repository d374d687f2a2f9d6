"""`python -m benchmarks.run`, the same command as `python -m benchmarks run`."""

from benchmarks.runs.run import main

if __name__ == "__main__":
    main()
