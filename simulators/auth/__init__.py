"""A mana-auth: Ed25519 keys, their JWKS, and tokens signed with them."""

from simulators.auth.hostile import HOSTILE_JWKS
from simulators.auth.keys import SigningKey
from simulators.auth.simulator import REMOVED, AuthSimulator

__all__ = ["HOSTILE_JWKS", "REMOVED", "AuthSimulator", "SigningKey"]
