"""`steptool view` as a child process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serve(root: Path, cache: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve the runs under `root` on a free port. Yields address and process; ends by SIGINT and checks the status."""
    command = [sys.executable, "-m", "agents.cli", "view", str(root), "--port", "0"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("steptool view on http://127.0.0.1:"), line or process.communicate()[1]
        yield line.split()[-1], process
    except BaseException:
        process.kill()
        raise
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) in {(0, ""), (130, "")}
