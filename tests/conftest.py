"""One cache folder for all tests of a checkout, and property tests that do not depend on the machine's load."""

import os
from pathlib import Path

from hypothesis import settings

os.environ.setdefault("TEXTAGENT_GYM_CACHE", str(Path(__file__).parent.parent / ".cache" / "tests"))

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
