"""`python -m simulators.notify serve`: a mana-notify whose page shows what was sent."""

import argparse
import sys
from pathlib import Path

from simulators import serving
from simulators.notify.simulator import NotifySimulator


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m simulators.notify", description=__doc__)
    serve = parser.add_subparsers(dest="command", required=True).add_parser("serve")
    serve.add_argument("--port", type=int, required=True, help="TCP port; 0 takes a free one")
    serve.add_argument("--host", default=serving.LOOPBACK)
    serve.add_argument("--data", type=Path, required=True, help="directory of what was sent")
    serve.add_argument(
        "--service-key", action="append", default=[], help="an accepted X-Service-Key; none given: any"
    )
    options = parser.parse_args(arguments)
    listener = serving.listen(options.port, options.host)
    simulator = NotifySimulator(service_keys=tuple(options.service_key), directory=options.data)
    serving.serve_until_stopped(simulator.application(), listener, name="mana-notify simulator")
    return 0


if __name__ == "__main__":
    sys.exit(main())
