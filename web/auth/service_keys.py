"""The keys by which other services of the ecosystem show that they are such."""

import hashlib
import hmac
from collections.abc import Iterable


class ServiceKeys:
    """The accepted service keys: several while one is being replaced by the next."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def accepts(self, given: str | None) -> bool:
        """Whether `given`, the header's value, is one of the keys.  No text makes it raise.

        How long it takes tells nothing of the keys: digests have one length, their comparison has no
        early end, and every key is compared.
        """
        if not given:
            return False
        digest = _digest(given)
        accepted = False
        for key_digest in self._digests:
            accepted |= hmac.compare_digest(digest, key_digest)
        return accepted


def _digest(key: str) -> bytes:
    # Headers and environment hold bytes that are not UTF-8 as lone surrogates; `strict` would raise.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
