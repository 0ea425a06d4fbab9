"""Threads share a few arenas of memory instead of having one each, which keeps what it once needed."""

from __future__ import annotations

import re
import subprocess
import sys

from devkit.paths import ROOT
from processes.memory import ARENAS

THREADS = 8

COUNT_ARENAS = f"""
import ctypes, sys, threading
from processes.memory import share_memory_among_threads

if sys.argv[1] == "shared":
    share_memory_among_threads()
libc, all_there = ctypes.CDLL(None), threading.Barrier({THREADS})
libc.malloc.restype = ctypes.c_void_p

def work():
    all_there.wait()
    assert libc.malloc(1_000)
    all_there.wait()

threads = [threading.Thread(target=work) for _ in range({THREADS})]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.fdopen.restype = ctypes.c_void_p
output = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, output)
libc.fflush(output)
"""


def arenas(how: str) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", COUNT_ARENAS, how], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return len(re.findall("<heap nr=", ran.stdout))


def test_however_many_threads_there_are_they_have_few_arenas() -> None:
    assert arenas("by themselves") > ARENAS
    assert arenas("shared") <= ARENAS
