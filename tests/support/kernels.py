"""The learning tests on every kernel that torch has on this machine, with one and two threads and three seeds.

python tests/support/kernels.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product

CAPABILITIES = ("default", "avx2", "avx512")
THREADS = (1, 2)
SEEDS = (1, 2, 3)
TESTS = ("-m", "slow or not slow", "-k", "learns or improves", "tests/baselines/test_training.py")


def main() -> int:
    """Run all combinations, print one line for each and return the number that failed."""
    failed = 0
    for capability in filter(is_available, CAPABILITIES):
        for threads, seed in product(THREADS, SEEDS):
            settings = {"TEXTAGENT_LEARNING_SEED": str(seed), "TEXTAGENT_LEARNING_THREADS": str(threads)}
            done = run(capability, settings, sys.executable, "-m", "pytest", "-q", *TESTS)
            summary = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip()
            print(f"{capability}, threads {threads}, seed {seed}: {summary}", flush=True)
            if done.returncode:
                failed += 1
                print(done.stdout, flush=True)
    return failed


def is_available(capability: str) -> bool:
    """Return whether torch uses these kernels here when asked to."""
    name = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    return run(capability, {}, sys.executable, "-c", name).stdout.strip().lower() == capability


def run(capability: str, settings: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command under the named kernels and environment variables."""
    env = {**os.environ, "ATEN_CPU_CAPABILITY": capability, **settings}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
