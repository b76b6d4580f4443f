"""Benchmarks on the public data of StepTool and StableToolBench."""
