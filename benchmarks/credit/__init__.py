"""The truth of credit: estimated advantages beside true ones from continuations of every state."""
