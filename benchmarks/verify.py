"""`python -m benchmarks.verify`, the same command as `python -m benchmarks verify`."""

from benchmarks.runs.verify import main

if __name__ == "__main__":
    main()
