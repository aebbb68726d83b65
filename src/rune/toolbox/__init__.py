"""What is known of MCP servers without speaking MCP: their tools' descriptions, pins of them, and the
files in which assistants keep their servers.

`judge.py` says what is wrong with a description, `pins.py` whether it changed, `hosts.py` where the files
are.
"""
