"""Parts that suites of tasks share, with the tools that answer them."""
