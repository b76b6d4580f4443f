"""The commands of `steptool`, one module each."""
