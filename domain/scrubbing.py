"""Takes out of text what a log may not hold: our secrets, tokens, passwords, e-mail addresses, gift codes.

The last defence, not the first: whoever logs leaves such things out.  But an error's message quotes what somebody
sent, and a library says what it likes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from domain.settings import Settings

SECRET_CHARACTERS_MIN: Final = 6
"""Shorter ones are no secrets, and would be found in ordinary words."""

USER_KEYS: Final = frozenset({"user_id", "user"})
"""Members of a log line that hold a person's id."""

PSEUDONYM_CHARACTERS: Final = 16

DEPTH_MAX: Final = 8
"""Nested members below it are left out: no line of ours is so deep."""

TEXT_CHARACTERS_MAX: Final = 32_768
"""What is longer is cut: a traceback is a tenth of it, and patterns take their time."""

_JWT: Final = r"\bey[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"
_PATTERNS: Final = (
    (re.compile(_JWT), "[token]"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{4,}"), r"\1 [token]"),
    (re.compile(r"\b(?:sk|rk|pk)_(?:live|test)_\w+"), "[stripe key]"),
    (re.compile(r"\bwhsec_[\w+/=-]+"), "[webhook secret]"),
    (re.compile(r"\b((?:pi|seti|cs)_\w+?)_secret_\w+"), r"\1_secret_[secret]"),
    (re.compile(r"\bv1=[0-9a-f]{64}\b"), "v1=[signature]"),
    (re.compile(r"\bv1,[\w+/]{43}="), "v1,[signature]"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)[^\s/@]{1,512}@"), r"\1[login]@"),
    (
        re.compile(
            r"(?i)\b(password|passwd|pwd|secret|api[_-]?key|service[_-]?key)(['\"]?\s*[=:]\s*)['\"]?[^\s'\",}&]+"
        ),
        r"\1\2[secret]",
    ),
    # An address, plain or percent-encoded; then those with letters of other alphabets.
    (re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}(?:@|%40)[\w-]+(?:\.[\w-]+)*", re.ASCII), "[address]"),
    (re.compile(r"[^\s\"'<>,;()=:]{1,64}@[^\s\"'<>,;()=:]{1,255}"), "[address]"),
    # A code's characters are no 0, 1, I, O.  In lower case one of ten letters and no digit is a word.
    (
        re.compile(r"(?i)(/g/|/gifts/|\bcode['\"]?\s*[=:]\s*['\"]?)(?!me\b)[a-hj-np-z2-9]{6,32}\b"),
        r"\1[code]",
    ),
    (re.compile(r"\b[A-HJ-NP-Z2-9]{10}\b"), "[code]"),
    (re.compile(r"\b(?=[a-z]*[2-9])(?=[2-9]*[a-z])[a-hj-np-z2-9]{10}\b"), "[code]"),
)


class Scrubber:
    """Scrubs the members of log lines.  `secrets` are taken out wherever they stand, as they are."""

    def __init__(self, secrets: Iterable[str], *, pseudonym_key: str | None = None) -> None:
        """With `pseudonym_key`, people's ids are replaced by a keyed digest: equal ids stay equal."""
        known = sorted({one for one in secrets if len(one) >= SECRET_CHARACTERS_MIN}, key=len, reverse=True)
        self._secrets = re.compile("|".join(re.escape(one) for one in known)) if known else None
        self._key = None if pseudonym_key is None else pseudonym_key.encode()

    def __call__(self, _logger: Any, _method: str, line: Mapping[str, Any]) -> dict[str, Any]:
        """A structlog processor."""
        return {str(name): self._member(str(name), value) for name, value in line.items()}

    def text(self, text: str) -> str:
        """The text without what a log may not hold."""
        if len(text) > TEXT_CHARACTERS_MAX:
            text = f"{text[:TEXT_CHARACTERS_MAX]}[…]"
        if self._secrets is not None:
            text = self._secrets.sub("[secret]", text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def _member(self, name: str, value: Any) -> Any:
        if name in USER_KEYS and isinstance(value, str) and self._key is not None:
            digest = hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()
            return f"u_{digest[:PSEUDONYM_CHARACTERS]}"
        return self._value(value, DEPTH_MAX)

    def _value(self, value: Any, depth: int) -> Any:
        match value:
            case None | bool() | int() | float():
                return value
            case _ if depth == 0:
                return "[…]"
            case str():
                return self.text(value)
            case Mapping():
                return {self.text(str(name)): self._value(part, depth - 1) for name, part in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._value(part, depth - 1) for part in value]
            case _:
                return self.text(str(value))


def scrubber_of(settings: Settings) -> Scrubber:
    """A scrubber that knows the secrets of these settings."""
    secrets = [
        *settings.service_keys,
        *settings.stripe_webhook_secrets,
        *filter(None, (settings.stripe_secret_key, settings.telemetry.log_user_ids_key)),
        *_passwords(settings.database_url, settings.redis_url, settings.pooler_url or ""),
        *(login.password_hash for login in settings.ops_users),
    ]
    return Scrubber(
        secrets,
        pseudonym_key=settings.telemetry.log_user_ids_key
        if settings.telemetry.log_user_ids == "hashed"
        else None,
    )


def _passwords(*urls: str) -> Iterable[str]:
    """The passwords of addresses, as they stand there and as they are meant."""
    for url in urls:
        password = urlsplit(url).password
        if password:
            yield password
            yield unquote(password)
