"""BFCL's multi-turn tasks: stateful simulated APIs, graded by BFCL's own checkers without a judge."""
