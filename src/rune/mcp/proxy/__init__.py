"""The proxy: stands between an MCP client and its server, and lets through what a Shield and the pins allow.

A message is read in `relay.py`, judged in `warden.py`, and what was judged is what is sent on. None of
this loads
the MCP SDK, save `remote.py`: the messages are JSON-RPC, and what the proxy does not know it passes on.
"""
