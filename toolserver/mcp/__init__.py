"""Model Context Protocol: tools, calls and results, and the catalog as an MCP server. Needs the extra `mcp`."""
