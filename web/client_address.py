"""Who is calling, as the network sees it: what the throttle counts by."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from aiohttp import web

IPV6_PREFIX_BITS: Final = 64
"""A connection is given a /64 at least (RFC 6177): whoever has one has all its addresses."""

UNKNOWN: Final = "unknown"
"""Where there is no address (a Unix socket): all of them share one."""


def client_address(request: web.Request, *, forwarded_hops: int) -> str:
    """The caller's IPv4 address, or the /64 of the IPv6 one; it is personal data and stays out of logs."""
    forwarded_for = request.headers.getall("X-Forwarded-For", ())
    return address_of(request.remote, forwarded_for, forwarded_hops=forwarded_hops)


def address_of(remote: str | None, forwarded_for: Sequence[str], *, forwarded_hops: int) -> str:
    """The same from the peer's address and the lines of `X-Forwarded-For`.

    Each of the `forwarded_hops` proxies in front of us wrote whom it was called by at the right end, so that
    the n-th from the right is true; what stands left of it is whatever the caller claims.
    """
    peer = _parsed(remote or "")
    if forwarded_hops:
        told = [part for line in forwarded_for for part in line.split(",")]
        # A shorter list came past our proxies: then the peer itself is the caller.
        client = _parsed(told[-forwarded_hops]) if len(told) >= forwarded_hops else None
        peer = client or peer
    return UNKNOWN if peer is None else _shared_by_one_client(peer)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """An address, with or without a port; None for anything else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _shared_by_one_client(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), IPV6_PREFIX_BITS), strict=False))
