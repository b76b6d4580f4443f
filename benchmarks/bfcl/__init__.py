"""Figures of BFCL."""
