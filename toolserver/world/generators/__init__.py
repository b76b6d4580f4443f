"""Word lists and name grammars. All names are made up or generic, so that no model knows an answer by heart."""
