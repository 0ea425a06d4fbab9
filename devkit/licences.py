"""`python -m devkit.licences [--check]`: docs/dependencies.md, the packages of the lock files and their licences.

It runs inside of `.venv`: what is installed says which licence it has.
"""

import re
import sys
from importlib import metadata

from devkit.paths import ROOT

PAGE = ROOT / "docs" / "dependencies.md"
LOCKS = {"service": ROOT / "deploy" / "requirements.lock", "development": ROOT / "requirements.lock"}

HEAD = """\
# Dependencies

Made by `python -m devkit.licences` from the lock files and what is installed; versions and hashes stand in
`requirements.lock` and `deploy/requirements.lock`. "Development" is what tests and tools need and no image holds.

| package | licence | for |
|---|---|---|
"""

SHORT = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0",
}
"""What classifiers call a licence, and the name that everybody knows it by."""


def locked(text: str) -> list[str]:
    """The names of the packages in a lock file."""
    return re.findall(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==", text, re.MULTILINE)


def licence_of(name: str) -> str:
    """What the installed package says of its licence.  Raises PackageNotFoundError."""
    about = metadata.metadata(name)
    if expressions := about.get_all("License-Expression"):
        return str(expressions[0])
    kinds = [
        one.rpartition(" :: ")[2] for one in about.get_all("Classifier") or () if one.startswith("License ::")
    ]
    kinds = [SHORT.get(kind, kind) for kind in kinds if kind != "OSI Approved"]
    if kinds:
        return ", ".join(kinds)
    first = str((about.get_all("License") or ["not said"])[0]).strip().splitlines()[0]
    return SHORT.get(first, first)


def on_the_page() -> dict[str, str]:
    """The licences that the page names."""
    text = PAGE.read_text("utf-8") if PAGE.is_file() else ""
    return dict(re.findall(r"^\| (\S+) \| (.+) \| (?:service|development) \|$", text, re.MULTILINE))


def licences() -> dict[str, tuple[str, str]]:
    """Of each locked package its licence and what it is for.

    One that another Python or platform alone installs is as the page has it, whichever runs this; or left out.
    """
    found: dict[str, tuple[str, str]] = {}
    before = on_the_page()
    for purpose, lock in LOCKS.items():
        for name in locked(lock.read_text("utf-8")):
            if name in found:
                continue
            try:
                found[name] = (licence_of(name), purpose)
            except metadata.PackageNotFoundError:
                if name in before:
                    found[name] = (before[name], purpose)
    return dict(sorted(found.items()))


def page() -> str:
    """The page as it should be."""
    rows = [f"| {name} | {licence} | {purpose} |\n" for name, (licence, purpose) in licences().items()]
    return HEAD + "".join(rows)


def main(arguments: list[str]) -> int:
    """Write the page; with `--check`, 1 when it is not what would be written."""
    text = page()
    if "--check" not in arguments:
        PAGE.write_text(text, "utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text("utf-8") == text:
        return 0
    print("docs/dependencies.md is out of date: run python -m devkit.licences", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
