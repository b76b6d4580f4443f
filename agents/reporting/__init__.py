"""Reports, plots and progress for people."""
