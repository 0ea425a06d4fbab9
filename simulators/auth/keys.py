"""mana-auth's signing keys: Ed25519, each with a `kid`, kept in a file between runs."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from simulators.files import create_once, write_atomically

KEYS_FILE = "auth-keys.json"


@dataclass(frozen=True)
class SigningKey:
    """A private key and the name (`kid`) that tokens and the JWKS know it by."""

    kid: str
    private: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> Self:
        """Make a new key with a name never used before."""
        return cls(kid=uuid4().hex, private=Ed25519PrivateKey.generate())

    @classmethod
    def from_jwk(cls, jwk: dict[str, str]) -> Self:
        """Read a private JWK.  Raises KeyError or ValueError where it is none."""
        seed = base64.urlsafe_b64decode(jwk["d"] + "==")
        return cls(kid=jwk["kid"], private=Ed25519PrivateKey.from_private_bytes(seed))

    def public_jwk(self) -> dict[str, Any]:
        """Return what the JWKS shows of this key."""
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": _base64url(self.private.public_key().public_bytes_raw()),
            "kid": self.kid,
            "alg": "EdDSA",
            "use": "sig",
        }

    def private_jwk(self) -> dict[str, Any]:
        """Return the whole key, for the file of `save_keys`."""
        return {**self.public_jwk(), "d": _base64url(self.private.private_bytes_raw())}


def load_or_create_keys(directory: Path) -> list[SigningKey]:
    """Return the keys kept in `directory`, the one that signs last; the first call makes one.

    The file is readable by its owner alone.  Two processes that start at once agree on one key.
    """
    path = directory / KEYS_FILE
    if not path.exists():
        create_once(path, _as_json([SigningKey.generate()]))
    return [SigningKey.from_jwk(jwk) for jwk in json.loads(path.read_text())["keys"]]


def save_keys(directory: Path, keys: list[SigningKey]) -> None:
    """Replace the keys kept in `directory`."""
    write_atomically(directory / KEYS_FILE, _as_json(keys))


def _as_json(keys: list[SigningKey]) -> str:
    return json.dumps({"keys": [key.private_jwk() for key in keys]}, indent=2)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
