"""rune-mcp: an MCP server over stdio whose tools are the rows of the operation table.

Start with `server.py`; what a row looks like to an assistant is in `tools.py`.
"""
