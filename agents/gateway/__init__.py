"""Gateway: chat completions of a policy for agents of other frameworks, recorded token by token, and their training."""
