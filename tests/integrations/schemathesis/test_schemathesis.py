"""schemathesis tests the server against its OpenAPI document, with all of its checks."""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.toolserver.serving import make_cache
from toolserver.testing import ServerProcess

KEY = "a-key-of-a-caller"


@pytest.fixture(scope="session", autouse=True)
def _facts(record_testsuite_property: Callable[[str, object], None]) -> None:
    pytest.importorskip("schemathesis", reason="needs schemathesis, which `make test-integrations` installs")
    record_testsuite_property("partner", "schemathesis")
    record_testsuite_property("versions", f"schemathesis {version('schemathesis')}")
    record_testsuite_property("runs", "every route of the tool server, with and without keys, under all checks")
    record_testsuite_property("drops", "-")


@pytest.mark.parametrize("tools", ["world", "recorded"])
@pytest.mark.parametrize("closed", [False, True])
def test_all_checks_find_nothing(tools: str, closed: bool, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"{KEY}\n")
    serve = ["--world", "0"] if tools == "world" else ["--cache", str(make_cache(tmp_path / "cache")), "--read-only"]
    with ServerProcess([*serve, *(["--api-key-file", str(keys)] if closed else [])]) as server:
        run = ["run", f"{server.url}/openapi.json", "--checks", "all", "--max-examples", "25", "--seed", "1"]
        run += ["-H", f"Authorization: Bearer {KEY}"] if closed else []
        command = [str(Path(sys.executable).with_name("schemathesis")), *run]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
