"""Documentation of APIs: catalog, search and formats."""
