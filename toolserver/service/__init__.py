"""Service: call validation, resolvers in order, typed outcomes."""
