"""What the page says, in the languages it speaks."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from domain.gifts import GiftStatus


class Texts(msgspec.Struct, frozen=True, kw_only=True):
    """One language.  `{name}`, `{credits}` and `{date}` are filled in."""

    language: str
    somebody: str
    title: str
    gives_you: str
    credits_one: str
    credits_many: str
    redeem: str
    how: str
    code: str
    until: str
    reserved: str
    ended: dict[GiftStatus, tuple[str, str]]
    """For each state but `active`: a headline, and what to do about it."""
    unknown: tuple[str, str]
    too_many: tuple[str, str]
    unavailable: tuple[str, str]
    to_the_app: str
    thousands: str
    months: tuple[str, ...]
    date: str


ENGLISH: Final = Texts(
    language="en",
    somebody="Somebody",
    title="A gift of {credits}",
    gives_you="{name} gives you",
    credits_one="1 credit",
    credits_many="{count} credits",
    redeem="Redeem in the app",
    how="Sign in or register in the app, and the credits are yours.",
    code="Your code",
    until="Good until {date}",
    reserved="Only the person whose e\N{NON-BREAKING HYPHEN}mail address the giver named can redeem this gift. "
    "Sign in with that address.",
    ended={
        GiftStatus.DEPLETED: ("This gift was redeemed", "A gift can be redeemed once, and this one was."),
        GiftStatus.EXPIRED: (
            "This gift has expired",
            "Its time is over, and the credits went back to the giver.",
        ),
        GiftStatus.CANCELLED: ("This gift was cancelled", "The giver took it back."),
        GiftStatus.REFUNDED: ("This gift was cancelled", "The credits went back to the giver."),
    },
    unknown=("We know no such gift", "Look at the link again: a letter may be missing or another one."),
    too_many=("One moment, please", "There were many requests from your network. Try again in a minute."),
    unavailable=("We cannot look just now", "Your gift is safe. Try again in a minute."),
    to_the_app="To the app",
    thousands=",",
    months=(
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    ),
    date="{day} {month} {year}",
)

GERMAN: Final = Texts(
    language="de",
    somebody="Jemand",
    title="Ein Geschenk: {credits}",
    gives_you="{name} schenkt dir",
    credits_one="1 Credit",
    credits_many="{count} Credits",
    redeem="In der App einlösen",
    how="Melde dich in der App an oder registriere dich, dann gehören die Credits dir.",
    code="Dein Code",
    until="Gültig bis {date}",
    reserved="Dieses Geschenk kann nur einlösen, wessen E\N{NON-BREAKING HYPHEN}Mail\N{NON-BREAKING HYPHEN}Adresse "
    "dafür genannt wurde. Melde dich mit dieser Adresse an.",
    ended={
        GiftStatus.DEPLETED: (
            "Dieses Geschenk wurde eingelöst",
            "Ein Geschenk kann einmal eingelöst werden, und dieses wurde es schon.",
        ),
        GiftStatus.EXPIRED: (
            "Dieses Geschenk ist abgelaufen",
            "Seine Zeit ist um, die Credits sind zurück beim Schenkenden.",
        ),
        GiftStatus.CANCELLED: (
            "Dieses Geschenk wurde zurückgezogen",
            "Wer es gemacht hat, hat es zurückgenommen.",
        ),
        GiftStatus.REFUNDED: (
            "Dieses Geschenk wurde zurückgezogen",
            "Die Credits sind zurück beim Schenkenden.",
        ),
    },
    unknown=(
        "Dieses Geschenk kennen wir nicht",
        "Sieh dir den Link noch einmal an: Vielleicht fehlt ein Zeichen.",
    ),
    too_many=(
        "Einen Moment bitte",
        "Aus deinem Netz kamen viele Anfragen. Versuche es in einer Minute noch einmal.",
    ),
    unavailable=(
        "Wir können gerade nicht nachsehen",
        "Dein Geschenk ist sicher. Versuche es in einer Minute noch einmal.",
    ),
    to_the_app="Zur App",
    thousands=".",
    months=(
        *("Januar", "Februar", "März", "April", "Mai", "Juni"),
        *("Juli", "August", "September", "Oktober", "November", "Dezember"),
    ),
    date="{day}. {month} {year}",
)

_ENTRY: Final = re.compile(
    r"\s*([a-zA-Z]{1,8}|\*)(?:-[a-zA-Z0-9-]*)?\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?))?\s*"
)

HEADER_CHARACTERS_MAX: Final = 500
"""The longest `Accept-Language` that is looked at: browsers send about fifty characters."""


def texts_for(accept_language: str) -> Texts:
    """The texts in the reader's language: German where it is preferred to English, else English."""
    wanted = {"de": 0.0, "en": 0.0}
    for part in accept_language[:HEADER_CHARACTERS_MAX].split(","):
        entry = _ENTRY.fullmatch(part)
        if entry is not None and (language := entry[1].lower()) in wanted:
            wanted[language] = max(wanted[language], float(entry[2] or 1))
    return GERMAN if wanted["de"] > wanted["en"] else ENGLISH
