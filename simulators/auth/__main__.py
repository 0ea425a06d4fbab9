"""`python -m simulators.auth serve` and `python -m simulators.auth token`."""

import argparse
import sys
from pathlib import Path

from simulators import serving
from simulators.auth.simulator import DEFAULT_AUDIENCE, DEFAULT_TTL_SECONDS, AuthSimulator
from simulators.files import write_atomically

ISSUER_FILE = "auth-issuer"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the process's exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "serve":
        return _serve(options)
    return _token(options)


def _serve(options: argparse.Namespace) -> int:
    listener = serving.listen(options.port, options.host)
    issuer = options.issuer or serving.url_of(listener)
    simulator = AuthSimulator(issuer=issuer, audience=options.audience, directory=options.data)
    write_atomically(options.data / ISSUER_FILE, issuer + "\n")
    serving.serve_until_stopped(simulator.application(), listener, name="mana-auth simulator")
    return 0


def _token(options: argparse.Namespace) -> int:
    issuer_file = options.data / ISSUER_FILE
    if options.issuer is None and not issuer_file.exists():
        print(f"no issuer: give --issuer, or start `serve`, which writes {issuer_file}", file=sys.stderr)
        return 2
    issuer = options.issuer or issuer_file.read_text().strip()
    simulator = AuthSimulator(issuer=issuer, audience=options.audience, directory=options.data)
    print(simulator.mint(options.sub, options.email, options.role, ttl_seconds=options.ttl))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulators.auth", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve the JWKS and POST /token")
    serve.add_argument("--port", type=int, required=True, help="TCP port; 0 takes a free one")
    serve.add_argument("--host", default=serving.LOOPBACK)
    token = commands.add_parser("token", help="print one signed token")
    token.add_argument("--sub", required=True, help="the user's id")
    token.add_argument("--email", default="")
    token.add_argument("--role", default="user")
    token.add_argument("--ttl", type=float, default=DEFAULT_TTL_SECONDS, help="seconds until it expires")
    for command in (serve, token):
        command.add_argument("--data", type=Path, required=True, help="directory of the keys")
        command.add_argument("--issuer", help="the tokens' `iss`")
        command.add_argument("--audience", default=DEFAULT_AUDIENCE, help="the tokens' `aud`")
    return parser


if __name__ == "__main__":
    sys.exit(main())
