"""How many clients fit into the open files of a process; each case in a process of its own."""

import subprocess
import sys

import pytest

CODE = """
import resource, sys
from controller.service.open_files import make_room
soft, hard, clients = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(make_room(clients))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def room(soft, hard, clients):
    words = [sys.executable, "-c", CODE, *map(str, (soft, hard, clients))]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    line, limit = done.stdout.split("\n")[:2]
    return line, int(limit)


def test_the_soft_limit_is_raised_where_the_hard_one_allows():
    line, limit = room(64, 2000, 1000)
    assert line == "" and 1000 + 256 < limit <= 2000


def test_a_limit_that_is_enough_stays():
    assert room(1500, 2000, 1000) == ("", 1500)


@pytest.mark.parametrize(("hard", "least", "most"), [(600, 300, 344), (100, 0, 0)])
def test_one_line_says_how_many_clients_fit(hard, least, most):
    line, limit = room(64, hard, 1000)
    assert limit == hard
    fit, _, rest = line.partition(" of 1000 clients")
    assert least <= int(fit) <= most and f"may open {hard} files" in rest
