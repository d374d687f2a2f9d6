"""`python -m benchmarks.verify`, which is `python -m benchmarks verify`."""

from benchmarks.runs.verify import main

if __name__ == "__main__":
    main()
