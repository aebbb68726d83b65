"""A process may fork at any moment, also while a thread of Shield loads what it needs."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, sys, threading
from rune import Shield

begun, never = threading.Event(), threading.Event()


class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "http.client" and threading.current_thread() is not threading.main_thread():
            begun.set()
            never.wait(0.2)  # time for the fork to come in between


sys.meta_path.insert(0, Slow())
shield = Shield(api_key="k", endpoint="http://127.0.0.1:9")
assert begun.wait(10)
child = os.fork()
if not child:
    import http.client

    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_that_is_forked_while_a_thread_imports_can_import_too() -> None:
    found = subprocess.run([sys.executable, "-c", SCRIPT], timeout=10, check=False, capture_output=True)
    assert found.returncode == 0, found.stderr
