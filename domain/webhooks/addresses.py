"""Where webhooks may go: to the public internet, over HTTPS.

Whoever registers an endpoint has us call an address of theirs.  It must not lead to this machine, its network, or the
metadata service of a cloud: neither by the name, nor by what the name stands for today or at the next attempt.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from domain.settings import Settings

URL_CHARACTERS_MAX: Final = 2048
"""What servers and proxies commonly take."""

_NOT_PUBLIC_V4: Final = tuple(
    IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
"""IANA's IPv4 special-purpose addresses, multicast, and what is reserved.  Written out, since what Python's
`is_global` says of some changed between its releases."""

_PUBLIC_V6: Final = IPv6Network("2000::/3")
"""All that IANA gives out of IPv6.  Elsewhere lie loopback, link-local, unique local, multicast, IPv4-mapped, NAT64."""

_NOT_PUBLIC_V6: Final = tuple(
    IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
"""Of these the special ones: protocol assignments with Teredo, documentation, and 6to4, which stands for any IPv4
address."""


class AddressRefused(Exception):
    """The address is none that a webhook may go to.  Its text says why, fit for whoever registers it to read."""


@dataclass(frozen=True)
class AddressRules:
    """What is allowed beyond public addresses over HTTPS, on a developer's machine alone."""

    allows_http: bool = False
    allows_local: bool = False

    @classmethod
    def of(cls, settings: Settings) -> AddressRules:
        """What these settings allow."""
        return cls(allows_http=settings.is_development, allows_local=settings.webhooks_to_local)


def check_url(url: str, rules: AddressRules) -> tuple[str, int]:
    """The host and port of an endpoint's address.  Raises AddressRefused; nobody is asked what the host stands for."""
    if (
        len(url) > URL_CHARACTERS_MAX
        or not url.isascii()
        or not url.isprintable()
        or set(url) & set(' "<>\\^`{|}')
    ):
        raise AddressRefused(f"must be at most {URL_CHARACTERS_MAX} characters of a URL")
    parts, port = _parts(url)
    allowed = ("https", "http") if rules.allows_http else ("https",)
    if parts.scheme not in allowed:
        raise AddressRefused(f"must begin with {' or '.join(f'{scheme}://' for scheme in allowed)}")
    if "@" in parts.netloc:
        raise AddressRefused("must not hold a name or password")
    if not parts.hostname or "%" in parts.netloc:
        raise AddressRefused("must name a host")
    if "#" in url:
        raise AddressRefused("must not have a fragment")
    literal = _literal(parts.hostname)
    if literal is not None:
        check_addresses([literal], rules)
    return parts.hostname, port or (443 if parts.scheme == "https" else 80)


def _parts(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("must be a URL") from None
    if port == 0:
        raise AddressRefused("must not have port 0")
    return parts, port


def _literal(host: str) -> str | None:
    """The host when it is an address already."""
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def check_addresses(addresses: Iterable[str], rules: AddressRules) -> None:
    """Raise AddressRefused unless there are addresses and each is public.

    One that is not spoils all: whoever mixes them hopes that we take it.
    """
    known = list(addresses)
    if not known:
        raise AddressRefused("names a host that has no address")
    if not rules.allows_local and not all(is_public(address) for address in known):
        raise AddressRefused("names a host that is not public")


def is_public(address: str) -> bool:
    """Whether it is an address of somebody's on the public internet; False for what is no address."""
    try:
        found: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return not any(found in network for network in _NOT_PUBLIC_V4)
    has_zone = found.scope_id is not None
    return not has_zone and found in _PUBLIC_V6 and not any(found in network for network in _NOT_PUBLIC_V6)


def addresses_of(host: str, port: int) -> list[str]:
    """What the host stands for now, by the system's resolver, which may take seconds: never in a transaction.

    Raises AddressRefused for a host that nobody knows.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise AddressRefused("names a host that has no address") from None
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


def check_reachable(url: str, rules: AddressRules) -> None:
    """Check the address and what its host stands for at this moment.  Raises AddressRefused."""
    host, port = check_url(url, rules)
    check_addresses(addresses_of(host, port), rules)
