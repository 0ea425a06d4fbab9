"""The ledger: the one door to balances, and what is read behind it."""

from domain.ledger.post import accepted, find_held_async, post, post_async
from domain.ledger.read import (
    Balance,
    Figures,
    balance_of,
    count_entries,
    entries_of,
    figures_of_async,
    find_posted_async,
    open_balance,
)
from domain.ledger.types import (
    CountsAs,
    Entry,
    EntryType,
    Insufficient,
    Metadata,
    NoBalance,
    Outcome,
    Posted,
    Posting,
    Replayed,
    TooLarge,
)

__all__ = [
    "Balance",
    "CountsAs",
    "Entry",
    "EntryType",
    "Figures",
    "Insufficient",
    "Metadata",
    "NoBalance",
    "Outcome",
    "Posted",
    "Posting",
    "Replayed",
    "TooLarge",
    "accepted",
    "balance_of",
    "count_entries",
    "entries_of",
    "figures_of_async",
    "find_held_async",
    "find_posted_async",
    "open_balance",
    "post",
    "post_async",
]
