"""Commands of the testbed, for benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def testbed(*words: str) -> Any:
    """Run one command; the JSON it prints. A run that is not trusted is a result, too."""
    done = subprocess.run([sys.executable, "-m", "testbed", *words, "--json"], cwd=ROOT,
                          text=True, capture_output=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"testbed {' '.join(words)} failed: {done.stderr}")
    return json.loads(done.stdout) if done.stdout else None
