"""Fixtures that several packages' tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from toolserver.cache import ResponseCache
from toolserver.catalog import Catalog
from toolserver.stabletoolbench import import_folder

DATA_VARIABLE = "STEPTOOL_STABLETOOLBENCH"

# The same examples on every run, and no deadline: the machine may be busy with other tests.
settings.register_profile("steptool", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("steptool")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seeds", type=int, default=1, help="on how many seeds each learning test stands")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `learning_seed` is a learning test: what it says of a trained policy holds for every seed."""
    if "learning_seed" in metafunc.fixturenames:
        seeds = range(metafunc.config.getoption("--seeds"))
        metafunc.parametrize("learning_seed", [pytest.param(seed, marks=pytest.mark.learning) for seed in seeds])


@pytest.fixture(scope="session")
def stabletoolbench_data() -> Path:
    """The published data of StableToolBench and StepTool, which this project may not redistribute."""
    default = Path(__file__).resolve().parents[2] / "shared" / "stabletoolbench"
    path = Path(os.environ.get(DATA_VARIABLE) or default)
    if not path.is_dir():
        pytest.skip(
            f"needs StableToolBench's data; set {DATA_VARIABLE} to its folder (docs/data.md says what is in it)"
        )
    return path


@pytest.fixture(scope="session")
def stabletoolbench_cache(stabletoolbench_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory with all of `tools/` and `tool_response_cache/`; open it with `read_only=True`."""
    path = tmp_path_factory.mktemp("stabletoolbench") / "cache"
    catalog = Catalog()
    with ResponseCache(path, memory_entries=0) as cache:
        import_folder(stabletoolbench_data / "server", cache, catalog, strict=True)
    catalog.save(path)
    return path
