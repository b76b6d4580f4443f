"""Commands of `toolserver`, one module each."""
