"""`python -m simulators.stripe serve`: a Stripe beside the service, its objects kept between runs."""

import argparse
import sys
from pathlib import Path

from simulators import serving
from simulators.stripe.simulator import DEFAULT_SECRET, StripeSimulator


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the process's exit status."""
    options = _parser().parse_args(arguments)
    listener = serving.listen(options.port, options.host)
    simulator = StripeSimulator(
        webhook_url=options.webhook_url,
        webhook_secrets=tuple(options.webhook_secret) or (DEFAULT_SECRET,),
        directory=options.data,
        public_url=options.public_url,
        parallel=options.parallel,
    )
    simulator.url = serving.url_of(listener)
    serving.serve_until_stopped(simulator.application(), listener, name="Stripe simulator")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulators.stripe", description=__doc__)
    serve = parser.add_subparsers(dest="command", required=True).add_parser("serve")
    serve.add_argument("--port", type=int, required=True, help="TCP port; 0 takes a free one")
    serve.add_argument("--host", default=serving.LOOPBACK)
    serve.add_argument("--data", type=Path, help="directory where everything is kept; none: memory alone")
    serve.add_argument("--webhook-url", default="", help="where events are sent")
    serve.add_argument(
        "--webhook-secret", action="append", default=[], help="what they are signed with; may be repeated"
    )
    serve.add_argument("--parallel", type=int, default=1, help="how many events are delivered at once")
    serve.add_argument("--public-url", default="", help="where people reach the hosted pages")
    return parser


if __name__ == "__main__":
    sys.exit(main())
