"""wrk as the load generator: a tenth of the CPU of the project's own, so the service has the rest.

Its script makes bodies with users and keys, and says at the end what it knows as one line of JSON.  At the end
of its time wrk hangs up on the requests under way: they were sent, and were not answered.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from functools import cache

import msgspec

from bench.plan import Plan, Report

TIMEOUT_SECONDS = 10
MARK = "REPORT "

_HOLES = re.compile(r"\{(user|key)\}")

SCRIPT = """\
local threads = {}
function setup(thread) thread:set("number", #threads); table.insert(threads, thread) end
count, late, paced, retry_after, statuses = 0, 0, 0, 0, {}
function init() math.randomseed(SEED + number) end
function request()
  count = count + 1
  local user = "user-" .. (FIRST_USER + math.random(0, USERS - 1) * USER_STEP)
  local key = RUN .. "-" .. number .. "-" .. count
  local body = BODY
  return HEAD .. #body .. "\\r\\n\\r\\n" .. body
end
PACING
TELLING
local function text(value) return string.format("%q", value) end
function done(summary, latency)
  local sent, late_sum, paced_sum, retry_sum, found = 0, 0, 0, 0, {}
  for _, thread in ipairs(threads) do
    sent, late_sum = sent + thread:get("count"), late_sum + thread:get("late")
    paced_sum, retry_sum = paced_sum + thread:get("paced"), retry_sum + thread:get("retry_after")
    for status, times in pairs(thread:get("statuses")) do found[status] = (found[status] or 0) + times end
  end
  local parts = {}
  for status, times in pairs(found) do table.insert(parts, text(status) .. ":" .. times) end
  local e = summary.errors
  io.write("\\nREPORT {", string.format(
    '"requests":%d,"duration":%d,"failed":%d,"lost":%d,"sent":%d,"late":%d,"paced":%d,"retry_after":%d,',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    sent, late_sum, paced_sum, retry_sum), string.format(
    '"p50":%.1f,"p99":%.1f,"worst":%.1f,', latency:percentile(50), latency:percentile(99), latency.max),
    '"statuses":{', table.concat(parts, ","), "}}\\n")
end
"""

PACING = """\
local ffi = require("ffi")
ffi.cdef[[typedef struct { long s; long n; } timespec_t; int clock_gettime(int clock, timespec_t *now);]]
local stamp = ffi.new("timespec_t")
local function now() ffi.C.clock_gettime(1, stamp); return tonumber(stamp.s) * 1000 + tonumber(stamp.n) / 1e6 end
local due = nil
function delay()
  local at = now()
  due = due and due + GAP or at
  paced = paced + 1
  if due < at - 1 then late = late + 1 end
  return math.max(0, math.floor(due - at + 0.5))
end
"""
"""One schedule for all connections: whichever is free takes the next due time."""

TELLING = """\
function response(status, headers)
  local name = tostring(status)
  statuses[name] = (statuses[name] or 0) + 1
  if headers["Retry-After"] then retry_after = retry_after + 1 end
end
"""


class _Told(msgspec.Struct, kw_only=True):
    """The line that the script prints; times in microseconds."""

    requests: int
    duration: int
    failed: int
    lost: int
    sent: int
    late: int
    paced: int
    retry_after: int
    p50: float
    p99: float
    worst: float
    statuses: dict[str, int]


@cache
def version() -> str | None:
    """`wrk` and its version; None where it is not installed."""
    path = shutil.which("wrk")
    if path is None:
        return None
    printed = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"wrk \S*?(\d+\.\d+\.\d+)", printed.stdout + printed.stderr)
    return f"wrk {found[1]}" if found else "wrk"


def can_send(plan: Plan) -> bool:
    """Whether wrk is there, and the plan is of its kind."""
    return version() is not None and not plan.prepared


def command(plan: Plan, script: str) -> list[str]:
    """How wrk is called, with its script in the file `script`."""
    return [
        "wrk",
        "--threads=1",
        f"--connections={plan.connections}",
        f"--duration={max(1, round(plan.seconds))}s",
        f"--timeout={TIMEOUT_SECONDS}s",
        f"--script={script}",
        f"http://127.0.0.1:{plan.port}{plan.path}",
    ]


def script_of(plan: Plan) -> str:
    """The script for a plan, in Lua."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in plan.headers.items())
    head = f"{plan.method} {plan.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Length: "
    values = {
        "SEED": str(random.getrandbits(30)),
        "RUN": _lua(f"{random.getrandbits(48):x}"),
        "FIRST_USER": str(plan.first_user),
        "USER_STEP": str(plan.user_step),
        "USERS": str(plan.users),
        "BODY": _body(plan.body),
        "HEAD": _lua(head),
        "PACING": PACING.replace("GAP", repr(1000 / plan.rate)) if plan.rate else "",
        "TELLING": TELLING if plan.tells_headers else "",
    }
    # In one pass: a value that holds the name of another stays as it is.
    return re.sub(r"\b(" + "|".join(values) + r")\b", lambda found: values[found[1]], SCRIPT)


def _body(template: str) -> str:
    """The template as an expression of Lua, with `user` and `key` for its holes."""
    parts = _HOLES.split(template)
    return " .. ".join(name if at % 2 else _lua(name) for at, name in enumerate(parts))


def _lua(text: str) -> str:
    """A string of Lua.  ASCII alone: JSON's escapes of it are Lua's too, except for control characters."""
    if not text.isascii():
        raise ValueError("wrk's bodies here are ASCII")
    return json.dumps(text)


def report_of(printed: str, cpu_seconds: float) -> Report:
    """What wrk printed, as a report.  Raises ValueError when the script's line is not in it."""
    lines = [line for line in printed.splitlines() if line.startswith(MARK)]
    if not lines:
        raise ValueError(f"wrk told nothing:\n{printed}")
    told = msgspec.json.decode(lines[-1].removeprefix(MARK), type=_Told)
    statuses = told.statuses or _split(told)
    if told.lost:
        statuses["lost"] = told.lost
    seconds = told.duration / 1e6
    return Report(
        generator=version() or "wrk",
        seconds=seconds,
        sent=told.sent,
        statuses=statuses,
        per_second=told.requests / seconds,
        p50=told.p50 / 1e3,
        p99=told.p99 / 1e3,
        worst=told.worst / 1e3,
        cpu_seconds=cpu_seconds,
        retry_after=told.retry_after,
        late=told.late / told.paced if told.paced else 0.0,
    )


def _split(told: _Told) -> dict[str, int]:
    """What wrk counts by itself: answers, and those from 400 on among them."""
    statuses = {"200": told.requests - told.failed}
    return statuses | {"4xx-5xx": told.failed} if told.failed else statuses
