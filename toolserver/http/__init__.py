"""HTTP interface of the tool server."""
