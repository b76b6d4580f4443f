"""Report of `openenv validate` at run time on the package in `deploy/openenv`, without times and places.

    .venvs/openenv/bin/python tests/integrations/openenv/report.py    # writes deploy/openenv/validation/report.json

It needs Docker and the image of the target `openenv`. The check of the network makes openenv pull an image from a
registry, and where that fails the container does not start for any check. So the copy that is validated allows the
network, and this one check is skipped.
"""

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PACKAGE = Path(__file__).parents[3] / "deploy" / "openenv"
REPORT = PACKAGE / "validation" / "report.json"
IMAGE = "steptool-env/openenv"


def validate(package: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `openenv validate`."""
    command = [str(Path(sys.executable).with_name("openenv")), "validate", str(package), *words]
    return subprocess.run(command, capture_output=True, text=True)


def make_report(level: str) -> dict[str, Any]:
    """Validate a copy of the package up to a level, `static` or `runtime`."""
    with TemporaryDirectory() as folder:
        package, output = Path(folder) / "package", Path(folder) / "report.json"
        shutil.copytree(PACKAGE, package)
        manifest = (PACKAGE / "openenv.yaml").read_text()
        (package / "openenv.yaml").write_text(manifest.replace("mode: no-network", "mode: public"))
        validate(package, "--level", level, "--output", str(output))
        found = json.loads(output.read_text())
    results = [{name: each[name] for name in ("check_id", "status", "evidence")} for each in found["results"]]
    return {
        "openenv": version("openenv"),
        "manifest": {"name": found["manifest"]["name"], "version": found["manifest"]["version"]},
        "verdict": found["verdict"],
        "results": results,
    }


if __name__ == "__main__":
    REPORT.write_text(json.dumps(make_report("runtime"), indent=1) + "\n")
