"""The commands of `toolserver`, one per module."""
