"""Who calls: users by mana-auth's tokens, other services by the service key.  No HTTP shapes here."""

from web.auth.claims import Caller
from web.auth.keys import JwksCache
from web.auth.refusals import KeysUnavailable, NotAuthenticated, Reason
from web.auth.service_keys import ServiceKeys
from web.auth.tokens import TokenVerifier

__all__ = [
    "Caller",
    "JwksCache",
    "KeysUnavailable",
    "NotAuthenticated",
    "Reason",
    "ServiceKeys",
    "TokenVerifier",
]
