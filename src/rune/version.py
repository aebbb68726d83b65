"""The version of this release; a module of its own, so that it costs nothing to read."""

__version__ = "0.1.0"
