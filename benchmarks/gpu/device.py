"""The device: its description, and the limits that shares are of: rates of a large copy and of a large product."""

import subprocess
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter

import torch

from benchmarks.harness.report import Row

_COPY_BYTES = 2**32
_PRODUCT_SIZE = 8192
_TINY_COPY_BYTES = 2**24
_TINY_PRODUCT_SIZE = 256
_LAPS = 10


def describe(device: str) -> Row:
    """Return name, driver and versions of a device."""
    if torch.device(device).type != "cuda":
        return {"device": "CPU", "memory, GiB": None, "driver": None, "CUDA": None, "capability": None}
    facts = torch.cuda.get_device_properties(device)
    return {
        "device": facts.name,
        "memory, GiB": facts.total_memory / 2**30,
        "driver": _driver(),
        "CUDA": torch.version.cuda,
        "capability": f"{facts.major}.{facts.minor}",
    }


def synchronize(device: str | torch.device) -> None:
    """Wait for the device's work."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def release_memory(device: str) -> None:
    """Return the device's unused memory, and start counting its peak again."""
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def copy_rate(device: str, tiny: bool = False) -> float:
    """Return the bytes per second that a large copy reads and writes."""
    count = (_TINY_COPY_BYTES if tiny else _COPY_BYTES) // 4
    source, target = (torch.zeros(count, device=device) for _ in range(2))
    return 2 * 4 * count / _seconds(lambda: target.copy_(source), device)


def product_rate(device: str, tiny: bool = False) -> float:
    """Return the operations per second of a large bfloat16 product of random matrices."""
    size = _TINY_PRODUCT_SIZE if tiny else _PRODUCT_SIZE
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / _seconds(lambda: left @ right, device)


def _seconds(run: Callable[[], object], device: str) -> float:
    """Return the mean seconds of a run, after three others."""
    for _ in range(3):
        run()
    synchronize(device)
    begin = perf_counter()
    for _ in range(_LAPS):
        run()
    synchronize(device)
    return (perf_counter() - begin) / _LAPS


def _driver() -> str | None:
    """Return the version of the driver; `None` where `nvidia-smi` does not tell."""
    with suppress(OSError, subprocess.SubprocessError):
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.split("\n")[0]
    return None
