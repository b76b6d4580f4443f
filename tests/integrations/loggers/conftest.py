"""Facts of the partners for the table of docs/integrations.md."""

from collections.abc import Callable
from importlib.metadata import version

import pytest

PACKAGES = ("tensorboard", "wandb", "mlflow", "trackio")


@pytest.fixture(scope="session", autouse=True)
def _facts(record_testsuite_property: Callable[[str, object], None]) -> None:
    for package in PACKAGES[1:]:
        pytest.importorskip(package, reason=f"needs {package}: pip install 'steptool-env[{package}]'")
    record_testsuite_property("partner", "Loggers")
    record_testsuite_property("versions", ", ".join(f"{package} {version(package)}" for package in PACKAGES))
    record_testsuite_property(
        "runs",
        "`steptool train --logger`, `steptool sft --logger` without a network; what each package stored is read back",
    )
    record_testsuite_property(
        "drops", "nothing; a resumed run has the records after its checkpoint twice, but for TensorBoard"
    )
