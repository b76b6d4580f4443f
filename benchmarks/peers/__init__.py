"""Other environments that run without a model, each behind one function, and each optional.

A peer plays as many episodes, of as many steps, as the scripts that it is given; what it is told is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from benchmarks.harness.episodes import Played, Script

Contestants = Mapping[str, Callable[[], Played]]
"""Names of what is measured, and what plays all episodes once."""

Peer = Callable[[Sequence[Script]], AbstractContextManager[Contestants]]
"""Sets a peer up. Raises `ImportError` where its package is not installed."""
