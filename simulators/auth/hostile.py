"""JWKS documents that a verifier must survive: each takes the honest one and spoils it."""

import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

# Larger than any JWKS a verifier should be willing to read.
OVERSIZED_BYTES = 5_000_000

Jwks = dict[str, Any]


def _spoil_keys(**changes: Any) -> Callable[[Jwks], str]:
    def spoiled(honest: Jwks) -> str:
        return json.dumps({"keys": [{**key, **changes} for key in honest["keys"]]})

    return spoiled


def _without(name: str) -> Callable[[Jwks], str]:
    def spoiled(honest: Jwks) -> str:
        return json.dumps({"keys": [{k: v for k, v in key.items() if k != name} for key in honest["keys"]]})

    return spoiled


def _symmetric(honest: Jwks) -> str:
    """Offer each public key as a shared secret of the same name, so that anybody could sign with it."""
    keys = [
        {"kty": "oct", "k": key["x"], "kid": key["kid"], "alg": "HS256", "use": "sig"}
        for key in honest["keys"]
    ]
    return json.dumps({"keys": keys})


def _rsa(honest: Jwks) -> str:
    public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    jwk: dict[str, Any] = RSAAlgorithm.to_jwk(public, as_dict=True)
    return json.dumps({"keys": [{**jwk, "kid": key["kid"], "alg": "RS256"} for key in honest["keys"]]})


def _bad_key_beside_the_good(honest: Jwks) -> str:
    """Put keys nobody can use in front of the honest ones, which must go on working."""
    broken = [{"kty": "OKP", "crv": "Ed25519", "x": "!!!", "kid": "broken"}, {"kty": "??"}, None, "key"]
    return json.dumps({"keys": [*broken, *honest["keys"]]})


HOSTILE_JWKS: dict[str, Callable[[Jwks], str]] = {
    "not_json": lambda _: "<html>504 Gateway Time-out</html>",
    "not_an_object": lambda honest: json.dumps(honest["keys"]),
    "no_keys_member": lambda _: "{}",
    "keys_is_null": lambda _: '{"keys": null}',
    "empty": lambda _: '{"keys": []}',
    "symmetric": _symmetric,
    "rsa": _rsa,
    "without_kid": _without("kid"),
    "without_x": _without("x"),
    "wrong_use": _spoil_keys(use="enc"),
    "wrong_alg": _spoil_keys(alg="HS256"),
    "wrong_curve": _spoil_keys(crv="X25519"),
    "short_key": _spoil_keys(x="AAAA"),
    "bad_key_beside_the_good": _bad_key_beside_the_good,
    "nested_deeply": lambda _: "[" * 100_000,
    "oversized": lambda honest: json.dumps({**honest, "padding": "x" * OVERSIZED_BYTES}),
}
"""Name of the attack → the JWKS body made from the honest document."""
