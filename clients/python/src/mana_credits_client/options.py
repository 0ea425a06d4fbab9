"""What a client is made with, checked once."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from mana_credits_client.attempts import Patience

VERSION = "0.1.0"


class WhenOffline(StrEnum):
    """What a use returns that could not be confirmed."""

    REFUSE = "refuse"
    """Fail closed: `Unconfirmed` is raised, and the work is not to be done."""
    LET_THROUGH = "let through"
    """Fail open: a `Use` with `confirmed=False`.  The work is done, perhaps never paid; its key may be sent again."""


@dataclass(frozen=True)
class Options:
    """A client's settings; its text never shows the service key."""

    base_url: str
    app_id: str
    service_key: str = field(repr=False)
    when_offline: WhenOffline = WhenOffline.REFUSE
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        """Raises ValueError for an address that is none, or a key that cannot be sent; the key is not shown."""
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("base_url is http(s)://host, without name or password")
        # A library below would show a header that it cannot send.
        if not self.service_key or not all("!" <= sign <= "~" for sign in self.service_key):
            raise ValueError("service_key is empty, or has blanks or signs that no header can hold")
        if not self.app_id or not all("!" <= sign <= "~" for sign in self.app_id):
            raise ValueError("app_id is empty, or has blanks or signs that no header can hold")

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {
            "X-Service-Key": self.service_key,
            "X-App-Id": self.app_id,
            "User-Agent": f"mana-credits-client/{VERSION} (python)",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }

    @property
    def wait_seconds(self) -> int:
        """How long the service may wait for a job before it answers, within one attempt."""
        return max(0, int(self.patience.timeout_seconds - 1))
