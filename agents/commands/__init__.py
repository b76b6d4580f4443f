"""Commands of `steptool`, one module each."""
