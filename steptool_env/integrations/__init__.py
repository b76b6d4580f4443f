"""Adapters for other frameworks, one module each. A module needs its partner's package, an extra of its own."""
