"""The runner of containers, on one Docker Engine. Read `runner.py` first, then `watch.py`."""
