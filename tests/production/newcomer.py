"""`./dev drill debian`: follow docs/production.md, word by word, on a Debian that has nothing yet.

debootstrap makes it, systemd-nspawn boots it with a systemd of its own; then the lines of the page's first section are
pasted into a root's shell one after the other, and the service is used, reloaded and killed.  Needs root, and Debian's
packages debootstrap and systemd-container.  What this machine's apt, pip and authorities are told, that one is told.
It shares this machine's network: nothing else may listen on 3061, 5432, 6379 and 9100 to 9102.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devkit.errors import DevError
from devkit.ports import is_free
from tests.architecture.source import ROOT

SUITE = "bookworm"
PORTS = (3061, 5432, 6379, 9100, 9101, 9102)
TOLD = ("etc/apt/apt.conf.d", "etc/pip.conf", "usr/local/share/ca-certificates")
BOOT_SECONDS = 60.0
ROOTS_ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root")

USED = """
set -eux
key=$(cat /etc/mana-credits/secrets/service_key)
internal=http://127.0.0.1:3061/api/v1/internal/credits
call() { curl --silent --show-error --fail-with-body -H "X-Service-Key: $key" "$internal/$1" -d "$2"; }
call grant '{"userId":"anna","amount":20,"reason":"bug-report","referenceId":"issue-42"}'
call use '{"userId":"anna","amount":2.5,"appId":"chat","description":"AI message","idempotencyKey":"message-7"}'
call refund '{"userId":"anna","amount":2.5,"description":"The model did not answer"}' | grep '"balance":20'
test "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:3061/metrics)" = 404
curl -sf http://127.0.0.1:9100/metrics | grep -q '^mana_database_up 1'
systemctl reload mana-credits-web mana-credits-workers
for _ in $(seq 100); do curl -sf -o /dev/null http://127.0.0.1:3061/health; sleep 0.1; done
systemctl kill --signal=KILL --kill-whom=main mana-credits-web
patiently="--silent --fail --retry 60 --retry-delay 1 --retry-all-errors"
curl $patiently http://127.0.0.1:3061/ready | grep '"status":"ready"'
mana-credits domain.invariants > /dev/null
test -z "$(systemctl --failed --no-legend)"
"""


def follow() -> int:
    """Do it all; 0 when the service ran.  Raises DevError where it cannot begin."""
    if os.geteuid() != 0 or not all(
        shutil.which(one) for one in ("debootstrap", "systemd-nspawn", "nsenter")
    ):
        raise DevError("This needs root, and: apt-get install debootstrap systemd-container")
    if taken := [port for port in PORTS if not is_free(port)]:
        raise DevError(f"Somebody listens on {taken}, where the Debian's servers would.")
    page = (ROOT / "docs/production.md").read_text("utf-8")
    section = page[page.index("## On one machine") : page.index("## In containers")]
    lines = "set -ex\n" + "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
    home = Path(tempfile.mkdtemp(prefix="mana-debian-"))
    home.chmod(0o755)
    try:
        machine = home / "machine"
        began = time.monotonic()
        subprocess.run(_debootstrap(machine), check=True)
        _tell(machine)
        _unpack(machine / "opt/mana-credits")
        print(f"a bare Debian after {time.monotonic() - began:.0f} s; now the page is followed")
        with _booted(machine) as leader:
            for script in (lines, USED):
                if code := _pasted(leader, script):
                    return code
        print(f"the service ran as the page says, {time.monotonic() - began:.0f} s after there was nothing")
        return 0
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _debootstrap(machine: Path) -> list[str]:
    return ["debootstrap", "--include=systemd,systemd-sysv,dbus,ca-certificates", SUITE, str(machine)]


def _tell(machine: Path) -> None:
    for name in TOLD:
        source, target = Path("/", name), machine / name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy(source, target)
    subprocess.run(["chroot", str(machine), "update-ca-certificates"], check=True, capture_output=True)


def _unpack(target: Path) -> None:
    """What is committed, as a release would have it."""
    target.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(target)], input=archive, check=True)


@contextmanager
def _booted(machine: Path) -> Iterator[int]:
    """The process id of its systemd, as this machine counts; powered off at the end."""
    command = [
        "systemd-nspawn",
        "--quiet",
        "--register=no",
        "--keep-unit",
        "--boot",
        "--directory",
        str(machine),
    ]
    with (machine.parent / "boot.log").open("wb") as log:
        nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
    deadline = time.monotonic() + BOOT_SECONDS
    try:
        while not (children.exists() and children.read_text().split()):
            if nspawn.poll() is not None or time.monotonic() > deadline:
                raise DevError(
                    f"It does not boot: {(machine.parent / 'boot.log').read_text(errors='replace')}"
                )
            time.sleep(0.2)
        leader = int(children.read_text().split()[0])
        while _pasted(leader, "systemctl is-system-running --wait"):
            if time.monotonic() > deadline:
                raise DevError("Its systemd does not come up.")
            time.sleep(1)
        yield leader
    finally:
        nspawn.send_signal(signal.SIGTERM)
        try:
            nspawn.wait(BOOT_SECONDS)
        except subprocess.TimeoutExpired:
            nspawn.kill()


def _pasted(leader: int, script: str) -> int:
    """Run it in a shell of the machine's root; the exit code."""
    enter = ["nsenter", "--target", str(leader), "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--"]
    shell = ["env", "-i", *ROOTS_ENVIRONMENT, "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "bash", "-s"]
    return subprocess.run([*enter, *shell], input=script, text=True, cwd="/").returncode
