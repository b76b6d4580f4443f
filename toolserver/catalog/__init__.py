"""API documentation: data types, catalog, full-text search and formats."""
