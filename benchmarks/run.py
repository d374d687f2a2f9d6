"""`python -m benchmarks.run`, the same command as `python -m benchmarks run`."""

import sys

from benchmarks.__main__ import main

if __name__ == "__main__":
    sys.argv.insert(1, "run")
    main()
