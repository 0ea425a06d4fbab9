"""The rule of sql/post.sql in pure Python: the tests' oracle, and the short way to understand it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from domain.amounts import BALANCE_MAX
from domain.ledger.types import CountsAs, Posting


@dataclass
class ModelBalance:
    """One person's balance: figures in credits."""

    balance: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    total_earned: Decimal = Decimal(0)
    total_spent: Decimal = Decimal(0)
    version: int = 0


@dataclass
class ModelLedger:
    """All balances, the entries' amounts in the order they were written, and the postings keyed."""

    balances: dict[str, ModelBalance] = field(default_factory=dict)
    entries: list[Posting] = field(default_factory=list)
    used: dict[tuple[str, str], Posting] = field(default_factory=dict)

    def post(self, postings: Sequence[Posting]) -> list[str]:
        """Apply the postings in their order; the outcome's word for each, as sql/post.sql names them.

        Balances that a list may create come into being first, whatever becomes of its postings.
        """
        for posting in postings:
            if posting.creates_balance:
                self.balances.setdefault(posting.user_id, ModelBalance())
        return [self._post_one(posting) for posting in postings]

    def _post_one(self, posting: Posting) -> str:
        account = self.balances.get(posting.user_id)
        if account is None:
            return "no_balance"
        if posting.posting_key is not None and (posting.user_id, posting.posting_key) in self.used:
            return "replayed"
        after = account.balance + posting.amount - posting.held_change
        if after < 0 and after < account.balance and not posting.may_overdraw:
            return "insufficient"
        if posting.amount > 0 and after + account.held + posting.held_change > BALANCE_MAX:
            return "too_large"
        match posting.counts_as:
            case CountsAs.EARNED:
                account.total_earned += posting.amount
            case CountsAs.SPENT:
                account.total_spent -= posting.amount
            case CountsAs.RETURNED:
                account.total_spent -= min(posting.amount, max(account.total_spent, Decimal(0)))
            case CountsAs.NEITHER:
                pass
        account.balance = after
        account.held += posting.held_change
        account.version += 1
        if posting.amount:
            self.entries.append(posting)
            if posting.posting_key is not None:
                self.used[posting.user_id, posting.posting_key] = posting
        return "posted"
