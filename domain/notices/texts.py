"""Every notice in every language.  The one place to change a word.

`{price}` is a number of credits, `{missing}` says what it counts ("1 credit"), `{date}` is a day, `{interval}` is the
language's own word for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple

from domain.amounts import wire_amount
from domain.sync_billing.calendar import Interval

Language = Literal["en", "de"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "de")


class Text(NamedTuple):
    """A notice in one language."""

    subject: str
    body: str


PAUSED: Final[Mapping[Language, Text]] = {
    "en": Text(
        "Your Cloud Sync is paused",
        "Your credits did not cover the {interval} renewal of Cloud Sync ({price} credits), so it is paused. "
        "Nothing is lost: your data stay on your devices.\n\n"
        "Add credits and turn sync on again here: {url}\n",
    ),
    "de": Text(
        "Deine Cloud-Synchronisierung ist pausiert",
        "Dein Guthaben hat für die {interval} Verlängerung der Cloud-Synchronisierung ({price} Credits) nicht "
        "gereicht; sie ist deshalb pausiert. Es geht nichts verloren: Deine Daten bleiben auf deinen Geräten.\n\n"
        "Lade Credits auf und schalte die Synchronisierung hier wieder ein: {url}\n",
    ),
}

PAUSED_RESUMES: Final[Mapping[Language, Text]] = {
    "en": Text(
        PAUSED["en"].subject,
        "Your credits did not cover the {interval} renewal of Cloud Sync ({price} credits), so it is paused. "
        "Nothing is lost: your data stay on your devices.\n\n"
        "As you asked, it goes on by itself once you have {price} credits. You can change that here: {url}\n",
    ),
    "de": Text(
        PAUSED["de"].subject,
        "Dein Guthaben hat für die {interval} Verlängerung der Cloud-Synchronisierung ({price} Credits) nicht "
        "gereicht; sie ist deshalb pausiert. Es geht nichts verloren: Deine Daten bleiben auf deinen Geräten.\n\n"
        "Wie von dir gewünscht läuft sie von selbst weiter, sobald du {price} Credits hast. "
        "Ändern kannst du das hier: {url}\n",
    ),
}

REMINDER: Final[Mapping[Language, Text]] = {
    "en": Text(
        "Cloud Sync renews on {date}: you need {missing} more",
        "Your Cloud Sync renews on {date} for {price} credits. Your balance is {missing} short; "
        "unless you add credits, sync pauses on that day.\n\nAdd credits here: {url}\n",
    ),
    "de": Text(
        "Cloud-Synchronisierung: für den {date} brauchst du noch {missing}",
        "Deine Cloud-Synchronisierung verlängert sich am {date} für {price} Credits. Dafür brauchst du noch "
        "{missing}; sonst pausiert die Synchronisierung an diesem Tag.\n\nCredits aufladen: {url}\n",
    ),
}

_INTERVALS: Final[Mapping[Language, Mapping[Interval, str]]] = {
    "en": {Interval.MONTHLY: "monthly", Interval.QUARTERLY: "quarterly", Interval.YEARLY: "yearly"},
    "de": {
        Interval.MONTHLY: "monatliche",
        Interval.QUARTERLY: "vierteljährliche",
        Interval.YEARLY: "jährliche",
    },
}

_UNITS: Final[Mapping[Language, tuple[str, str]]] = {"en": ("credit", "credits"), "de": ("Credit", "Credits")}

_MONTHS_EN: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def paused(language: Language, *, interval: Interval, price: Decimal, url: str, auto_resume: bool) -> Text:
    """Sync was paused for want of credits."""
    texts = PAUSED_RESUMES if auto_resume else PAUSED
    return _filled(
        texts[language], interval=_INTERVALS[language][interval], price=_amount(language, price), url=url
    )


def reminder(language: Language, *, due: datetime, price: Decimal, missing: Decimal, url: str) -> Text:
    """Sync will be paused at `due` unless `missing` credits are added."""
    return _filled(
        REMINDER[language],
        date=_day(language, due),
        price=_amount(language, price),
        missing=f"{_amount(language, missing)} {_UNITS[language][missing != 1]}",
        url=url,
    )


def _filled(text: Text, **facts: str) -> Text:
    return Text(text.subject.format_map(facts), text.body.format_map(facts))


def _day(language: Language, instant: datetime) -> str:
    day = instant.astimezone(UTC)
    if language == "de":
        return f"{day:%d.%m.%Y}"
    return f"{day.day} {_MONTHS_EN[day.month - 1]} {day.year}"


def _amount(language: Language, amount: Decimal) -> str:
    written = f"{wire_amount(amount):f}"
    return written.replace(".", ",") if language == "de" else written
