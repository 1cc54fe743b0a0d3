"""A lock lasts as long as the process that holds it."""

import os
import subprocess
import sys

import pytest

from quantum.locks import hold, is_held

HOLDER = """
import sys, time
from pathlib import Path
from quantum.locks import hold
assert hold(Path(sys.argv[1])) is not None
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_a_lock_goes_with_its_process(tmp_path):
    path = tmp_path / "lock"
    assert not is_held(path)
    assert not path.exists()
    words = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        assert is_held(path)
        assert hold(path) is None
        holder.kill()
    assert not is_held(path)
    handle = hold(path)
    assert handle is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert hold(path) is None
    os.close(handle)


def test_a_place_that_is_none_is_said(tmp_path):
    with pytest.raises(OSError):
        hold(tmp_path / "none" / "lock")
