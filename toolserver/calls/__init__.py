"""Parts of a call that every room needs: names, argument JSON, cache key, episode state."""
