"""Adapters for other projects' trainers, one module each. A module needs its partner's package, an extra of its own."""
