"""Memory of the GPUs of this machine, as `nvidia-smi` reports it."""

import shutil
import subprocess
from typing import NamedTuple

_SECONDS = 5.0  # a driver that hangs must not stop the page
_QUERY = ("--query-gpu=index,memory.used,memory.total", "--format=csv,noheader,nounits")


class GpuMemory(NamedTuple):
    """Number of a GPU, and its used and total memory in MiB, of all processes together."""

    number: int
    used: int
    total: int


def gpu_memory() -> list[GpuMemory]:
    """Return the memory of each GPU; empty without `nvidia-smi`, or where it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        run = subprocess.run([program, *_QUERY], capture_output=True, text=True, timeout=_SECONDS, check=True)
        return [GpuMemory(*(int(text) for text in line.split(","))) for line in run.stdout.splitlines() if line]
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        return []
