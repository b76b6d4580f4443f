"""Other environments that need no model, one function each; their packages are optional.

A peer plays as many episodes and steps as the given scripts, with its own tasks.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from benchmarks.harness.episodes import Played, Script

Contestants = Mapping[str, Callable[[], Played]]
"""Functions that play all episodes once, by name."""

Peer = Callable[[Sequence[Script]], AbstractContextManager[Contestants]]
"""Context manager that sets up a peer. Raises `ImportError` if its package is not installed."""
