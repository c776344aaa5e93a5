from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import atexit, sys, threading
from kresp3d.system.ending import end, end_at_once
atexit.register(print, "last")
{}
threading.Thread(target=threading.Event().wait, daemon={}).start()
print("first")
end(3)
"""


@pytest.mark.parametrize(("before", "daemon"), [("", True), ("end_at_once()", False)])
def test_the_code_and_what_was_registered_are_kept(before, daemon):
    # A thread that is no daemon would keep Python from ending.
    code = CODE.format(before, daemon)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.returncode == 3 and found.stdout.split() == ["first", "last"] and not found.stderr
