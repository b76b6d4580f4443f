"""Import of recordings and models into the user's cache directory."""

import os
import tempfile
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path

from steptool_env import __version__
from steptool_env.errors import ConfigurationError, StepToolError
from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import save_catalog
from toolserver.catalog.catalog import Catalog
from toolserver.stabletoolbench import import_folder


def imported_cache(folder: Path) -> Path:
    """Return the directory of the imported recordings of a folder of StableToolBench; import them at the first use.

    Raises:
        ConfigurationError: The folder does not exist, or the cache directory is not writable.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"data: {folder} is not a folder; it must contain tools/ and tool_response_cache/")

    def fill(draft: Path) -> None:
        catalog = Catalog()
        with ResponseCache(draft) as cache:
            import_folder(folder, cache, catalog)
        save_catalog(catalog, draft)

    remedy = ", or run `toolserver import stabletoolbench` and give its --cache directory as cache="
    return import_once("stabletoolbench", folder, folder.rglob("*.json"), fill, remedy)


def import_once(kind: str, folder: Path, files: Iterable[Path], fill: Callable[[Path], None], remedy: str = "") -> Path:
    """Return the directory that `fill` has filled from `files`; fill it at the first use.

    The name of the directory is `kind` and a digest of this version and of the files (paths, sizes, modification
    times), so changed files are imported again. Concurrent imports are safe: the first complete one is kept.

    Args:
        kind: Name of the benchmark or model, and the format of its files.
        folder: Folder of the files.
        files: Files that are imported.
        fill: Function that fills an empty directory.
        remedy: End of the message where the cache directory is not writable.

    Raises:
        ConfigurationError: The files cannot be read, or the cache directory is not writable.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "steptool-env"
    target = home / f"{kind}-{_digest(folder, files)}"
    if target.is_dir():
        return target
    try:
        home.mkdir(parents=True, exist_ok=True)
        return _import(fill, target)
    except StepToolError as error:
        raise ConfigurationError(f"data: {error}") from error
    except OSError as error:
        raise ConfigurationError(
            f"{kind}: the files cannot be imported into {target} ({error}); set XDG_CACHE_HOME to a folder that can "
            f"be written{remedy}"
        ) from error


def _import(fill: Callable[[Path], None], target: Path) -> Path:
    """Fill a temporary directory beside `target` and rename it at the end."""
    with tempfile.TemporaryDirectory(prefix=".importing-", dir=target.parent, ignore_cleanup_errors=True) as draft:
        fill(Path(draft))
        try:
            Path(draft).rename(target)
        except OSError:
            if not target.is_dir():
                raise
    return target


def _digest(folder: Path, files: Iterable[Path]) -> str:
    digest = blake2b(__version__.encode(), digest_size=12)
    for path in sorted(files):
        status = path.stat()
        digest.update(f"{path.relative_to(folder)}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()
