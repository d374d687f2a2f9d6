"""`python -m benchmarks.run`, which is `python -m benchmarks run`."""

from benchmarks.runs.run import main

if __name__ == "__main__":
    main()
