"""Type of the flag `--cache`."""

from __future__ import annotations

from typing import Annotated

import tyro

CachePlace = Annotated[str, tyro.conf.arg(metavar="DIR|URL")]
"""A directory or a `redis://` URL; text, as a path would lose one of the URL's slashes."""
