"""Word lists, name grammars and column generators. Names are invented or generic: no model has memorised an answer."""
