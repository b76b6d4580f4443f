"""Tool service: call validation, injected faults, resolvers in order, typed outcomes."""
