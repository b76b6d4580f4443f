"""StableToolBench: its solvable queries with recorded calls, and the sample of them in the package."""
