"""Functions in child processes, several at a time, with their progress."""

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from functools import partial
from typing import Any

import torch

from agents.reporting.console import Display
from toolserver.children import worker_pool

Job = tuple[Callable[..., None], *tuple[Any, ...]]
"""Function and its arguments, which can be pickled."""


def do_all(name: str, waiting: Sequence[Job], count: int, jobs: int) -> None:
    """Call functions in `jobs` child processes of one thread each; those of the `count` that do not wait are done."""
    pool = worker_pool(jobs, partial(torch.set_num_threads, 1))
    try:
        with Display() as display:
            phase = display.add_phase(name, count)
            display.update(phase, count - len(waiting), count)
            futures = [pool.submit(function, *arguments) for function, *arguments in waiting]
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                display.update(phase, count - len(waiting) + done, count)
    finally:
        pool.shutdown(cancel_futures=True)
