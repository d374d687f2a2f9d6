"""`python -m benchmarks.verify`, the same command as `python -m benchmarks verify`."""

import sys

from benchmarks.__main__ import main

if __name__ == "__main__":
    sys.argv.insert(1, "verify")
    main()
