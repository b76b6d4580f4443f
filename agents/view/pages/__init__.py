"""Pages of the browser interface, one module per kind of page."""
