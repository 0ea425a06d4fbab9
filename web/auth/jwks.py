"""mana-auth's published keys, read from a document that nobody vouches for."""

import base64
import re
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# An Ed25519 JWK takes some 150 bytes and mana-auth publishes two or three; this is twenty times what an
# auth host with a key a day would need.
DOCUMENT_BYTES_MAX: Final = 64 * 1024
KEYS_MAX: Final = 64
# mana-auth names its keys with 32 characters.
KID_CHARACTERS_MAX: Final = 128

# 32 bytes in base64url.  Python's decoder skips characters that are none of its alphabet, hence the pattern.
_PUBLIC_KEY: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class UnusableDocument(Exception):
    """The document is no JWKS, exceeds a limit, or holds no key that can be used."""


class _Document(msgspec.Struct):
    keys: list[msgspec.Raw]


class _Jwk(msgspec.Struct):
    kty: str
    crv: str
    kid: str
    x: str
    use: str = "sig"
    alg: str = "EdDSA"
    key_ops: list[str] = msgspec.field(default_factory=lambda: ["verify"])
    d: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    def is_usable(self) -> bool:
        """Whether this is a public Ed25519 key for signatures.

        A key shown with its private part (`d`) is everybody's to sign with, so it vouches for nothing.
        """
        return (
            (self.kty, self.crv, self.use, self.alg) == ("OKP", "Ed25519", "sig", "EdDSA")
            and "verify" in self.key_ops
            and self.d is msgspec.UNSET
            and 0 < len(self.kid) <= KID_CHARACTERS_MAX
            and _PUBLIC_KEY.fullmatch(self.x) is not None
        )


def read_jwks(body: bytes) -> dict[str, Ed25519PublicKey]:
    """Return the usable keys of a JWKS by their `kid`.

    A key that cannot be used is passed over.  Where two different keys go by one name, neither is taken:
    which of them signs would be a guess.
    Raises UnusableDocument where the document is too large, malformed, has too many keys, or none usable.
    """
    found: dict[str, set[str]] = {}
    for jwk in _usable_jwks(body):
        found.setdefault(jwk.kid, set()).add(jwk.x)
    keys = {kid: _public_key(values.pop()) for kid, values in found.items() if len(values) == 1}
    if not keys:
        raise UnusableDocument("no usable key")
    return keys


def _usable_jwks(body: bytes) -> list[_Jwk]:
    if len(body) > DOCUMENT_BYTES_MAX:
        raise UnusableDocument("too large")
    try:
        document = msgspec.json.decode(body, type=_Document)
    except (ValueError, RecursionError):
        # The cause would quote what somebody else wrote, so it goes no further.
        raise UnusableDocument("not a JWKS") from None
    if len(document.keys) > KEYS_MAX:
        raise UnusableDocument("too many keys")
    return [jwk for raw in document.keys if (jwk := _read_jwk(raw)) and jwk.is_usable()]


def _read_jwk(raw: msgspec.Raw) -> _Jwk | None:
    try:
        return msgspec.json.decode(raw, type=_Jwk)
    except (ValueError, RecursionError):
        return None


def _public_key(x: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x + "="))
