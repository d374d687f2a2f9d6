"""One cache folder for all tests of a checkout, so that a game is generated once for all workers."""

import os
from pathlib import Path

os.environ.setdefault("TEXTAGENT_GYM_CACHE", str(Path(__file__).parent.parent / ".cache" / "tests"))
