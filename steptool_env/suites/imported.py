"""Import of recordings in StableToolBench's folders into the user's cache directory."""

import os
import tempfile
from hashlib import blake2b
from pathlib import Path

from steptool_env import __version__
from steptool_env.errors import ConfigurationError, StepToolError
from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import save_catalog
from toolserver.catalog.catalog import Catalog
from toolserver.stabletoolbench import import_folder


def imported_cache(folder: Path) -> Path:
    """Return the directory of the imported recordings of `folder`; import them at the first use.

    The name of the directory is a digest of this version and of the folder's listing (paths, sizes, modification
    times), so changed recordings are imported again. Concurrent imports are safe: the first complete one is kept.

    Raises:
        ConfigurationError: The folder does not exist, or the cache directory is not writable.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"data: {folder} is not a folder; it must contain tools/ and tool_response_cache/")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "steptool-env"
    target = home / f"stabletoolbench-{_digest(folder)}"
    if target.is_dir():
        return target
    try:
        home.mkdir(parents=True, exist_ok=True)
        return _import(folder, target)
    except StepToolError as error:
        raise ConfigurationError(f"data: {error}") from error
    except OSError as error:
        raise ConfigurationError(
            f"data: the recordings cannot be imported into {target} ({error}); set XDG_CACHE_HOME to a folder that can "
            "be written, or run `toolserver import stabletoolbench` and give its --cache directory as cache="
        ) from error


def _import(folder: Path, target: Path) -> Path:
    """Import into a temporary directory beside `target` and rename it at the end."""
    with tempfile.TemporaryDirectory(prefix=".importing-", dir=target.parent, ignore_cleanup_errors=True) as draft:
        catalog = Catalog()
        with ResponseCache(draft) as cache:
            import_folder(folder, cache, catalog)
        save_catalog(catalog, draft)
        try:
            Path(draft).rename(target)
        except OSError:
            if not target.is_dir():
                raise
    return target


def _digest(folder: Path) -> str:
    digest = blake2b(__version__.encode(), digest_size=12)
    for path in sorted(folder.rglob("*.json")):
        status = path.stat()
        digest.update(f"{path.relative_to(folder)}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()
