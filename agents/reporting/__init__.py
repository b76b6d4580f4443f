"""Reports, plots and progress displays."""
