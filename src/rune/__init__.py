"""Rune runs AI agents, and any other service, and keeps them safe."""

__version__ = "0.1.0"
