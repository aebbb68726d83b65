"""The SDK inside an agent: a guest, bounded in memory, silent when it fails, counting what it lost.

Start with `shield.py`; `from rune import Shield` is the public door.
"""
