"""A stage alone: in a process of its own, on one thread, and what it took."""

import json
import os
import resource
import subprocess
import sys
from typing import Any


def print_used(**more: Any) -> None:
    """Ends such a process: prints its CPU seconds, highest memory in GiB, and `more`, as a line of JSON."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(each.ru_utime + each.ru_stime for each in used)
    print(json.dumps({"seconds": seconds, "gib": max(each.ru_maxrss for each in used) / 2**20, **more}))


def run_alone(*arguments: str) -> dict[str, Any]:
    """Starts Python with a benchmark's file and its options; returns what it printed last, if anything.

    Raises:
        SystemExit: it failed; shows the end of what it said.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
