"""Command line, timing and result files of every benchmark."""
