"""Figures on the public data of StepTool and StableToolBench."""
