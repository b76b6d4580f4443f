"""Episode state: signed state tokens and fault injection."""
