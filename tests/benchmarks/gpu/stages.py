"""Stages that end in every way that a stage can end."""

import os
import subprocess
import sys
import time

from benchmarks.gpu.stage import Report


def good(report: Report) -> None:
    report.add("Good", {"tiny": str(report.tiny), "device": report.device})


def raises(report: Report) -> None:
    report.add("Raised", {"x": 1})
    with report.attempt("a part"):
        raise MemoryError("out of memory\nsecond line")
    report.add("Raised", {"x": 2})
    raise RuntimeError("no such kernel")


def crashes(report: Report) -> None:
    report.note("crashes next")
    os.abort()


def hangs(report: Report) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    report.add("Hung", {"pid": child.pid, "seconds left": report.left})
    time.sleep(600)
