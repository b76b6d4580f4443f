"""Figures of ComplexFuncBench."""
