"""Security events: what one is, and the stores that keep them. `base.py` is the interface, read it first."""
