"""The bugs: each is text of ours and what stands in its place; each names who must catch it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RIG = "the rig"
"""A short run of `./dev faults` instead of a test."""


class DoesNotApply(Exception):
    """The text of a mutant is not in its file, or not once: the code changed, and the mutant must follow."""


@dataclass(frozen=True)
class Mutant:
    """A bug.  `catcher` is a test's id, or RIG."""

    name: str
    file: str
    old: str
    new: str
    catcher: str

    def text(self, root: Path) -> str:
        """The file's text with the bug in it.  Raises DoesNotApply."""
        text = (root / self.file).read_text("utf-8")
        count = text.count(self.old)
        if count != 1:
            raise DoesNotApply(f"{self.name}: {self.file} has its text {count} times, not once:\n{self.old}")
        return text.replace(self.old, self.new)


POST = "domain/ledger/sql/post.sql"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a key is checked only after the write",
        POST,
        "ELSIF item.is_used_before THEN",
        "ELSIF false THEN",
        "tests/domain/test_ledger_postings.py::test_a_key_takes_effect_once_and_gives_the_first_entry_again",
    ),
    Mutant(
        "balances are read without a row lock",
        POST,
        "ORDER BY b.user_id FOR NO KEY UPDATE);",
        "ORDER BY b.user_id);",
        "tests/domain/test_ledger_races.py::test_parallel_uses_never_overspend",
    ),
    Mutant(
        "a debit is not held against the balance",
        POST,
        "ELSIF after < 0 AND after < spendable AND NOT item.may_overdraw THEN",
        "ELSIF false THEN",
        RIG,
    ),
    Mutant(
        "the key of a use is forgotten",
        "domain/spending.py",
        'posting_key=None if idempotency_key is None else f"use:{idempotency_key}",',
        "posting_key=None,",
        "tests/web/test_idempotency.py::test_a_repeat_with_the_key_in_the_body_gets_the_first_answer",
    ),
    Mutant(
        "balances are read from a memory of the process",
        "web/bridge.py",
        "return [found.get(user_id) for user_id in user_ids]",
        'self._seen = {**found, **getattr(self, "_seen", {})}\n'
        "                        return [self._seen.get(user_id) for user_id in user_ids]",
        RIG,
    ),
    Mutant(
        "a job is done before its effect",
        "domain/jobs/run.py",
        "            try:\n                result = work(now)\n",
        "            self._finish(JobState.DONE, None, now)\n"
        "            self._connection.commit()\n"
        "            try:\n                result = work(now)\n",
        "tests/domain/test_jobs_run.py::"
        "test_an_outage_undoes_the_work_keeps_the_error_and_waits_for_its_time",
    ),
    Mutant(
        "workers do not ask whether somebody is on the job",
        "domain/jobs/claiming.py",
        'type_=BigInteger)).label("is_ours"),',
        'type_=BigInteger)).is_not(None).label("is_ours"),',
        "tests/domain/test_jobs_run.py::test_a_call_under_way_keeps_other_workers_from_the_job",
    ),
    Mutant(
        "no unique index over posting keys",
        "migrations/to_ledger.py",
        "CREATE UNIQUE INDEX transactions_user_id_posting_key_key",
        "CREATE INDEX transactions_user_id_posting_key_key",
        "tests/domain/test_ledger_guards.py::test_a_key_used_twice_is_refused_even_through_the_door",
    ),
    Mutant(
        "the sweep of reservations does not look at their status",
        "domain/reservations.py",
        '.where(reservations.c.status == "reserved", reservations.c.expires_at <= now)',
        ".where(reservations.c.expires_at <= now)",
        "tests/domain/test_reservations.py::test_the_sweep_releases_what_is_due_and_nothing_else",
    ),
    Mutant(
        "webhooks are taken without their signature",
        "web/routes/stripe_webhooks.py",
        "if not stripe_signature.is_signed(body, header, secrets, now=now):",
        "if not header:",
        "tests/web/test_webhooks.py::test_a_signature_over_anything_else_is_invalid_and_does_nothing",
    ),
    Mutant(
        "a payment that failed late flips a completed purchase",
        "domain/settling.py",
        'if status == "completed" or payment.state is PaymentState.PAID:',
        "if payment.state is PaymentState.PAID:",
        "tests/domain/test_stripe_events.py::"
        "test_payment_failed_after_succeeded_leaves_the_purchase_completed",
    ),
    Mutant(
        "each partial refund takes back the sum of all",
        "domain/settling.py",
        "amount=Decimal(row.credits_taken_back - owed),",
        "amount=Decimal(-owed),",
        "tests/domain/test_stripe_events.py::"
        "test_partial_refunds_add_up_in_credits_and_the_last_takes_the_rest",
    ),
    Mutant(
        "gifts expire without being locked",
        "domain/gifts/ending.py",
        "read_gifts(connection, query.with_for_update(skip_locked=True))",
        "read_gifts(connection, query)",
        "tests/domain/test_gift_races.py::test_cancel_redeem_and_expiry_at_once_have_one_winner_each_time",
    ),
    Mutant(
        "gifts are redeemed without being locked",
        "domain/gifts/redeeming.py",
        "gifts_where(gift_codes.c.code == normal_code(typed_code)).with_for_update()",
        "gifts_where(gift_codes.c.code == normal_code(typed_code))",
        "tests/domain/test_gift_races.py::test_fifty_redeem_one_code_and_one_gets_it",
    ),
    Mutant(
        "a renewal has no key of its period",
        "domain/sync_billing/prices.py",
        "posting_key=period_key(start),",
        "posting_key=None,",
        "tests/domain/test_sync_renewals.py::"
        "test_a_date_set_back_by_hand_to_a_period_that_was_paid_is_moved_on_without_a_charge",
    ),
    Mutant(
        "the relay does not claim what it sends",
        "domain/jobs/due.py",
        ".values(sent_at=now, nudge_at=now + RESEND_AFTER)",
        ".values(sent_at=now)",
        "tests/workers/test_relay.py::test_it_sends_what_nobody_was_told_of_and_again_after_a_while",
    ),
    Mutant(
        "relays do not skip what others have locked",
        "domain/jobs/due.py",
        ".limit(most)\n        .with_for_update(skip_locked=True)\n",
        ".limit(most)\n",
        "tests/workers/test_relay.py::test_it_leaves_alone_what_another_relay_or_a_worker_has_locked",
    ),
    Mutant(
        "a key answers whatever is asked with it",
        "domain/idempotency.py",
        "if row.request_digest != digest:",
        "if row.request_digest is None:",
        "tests/domain/test_idempotency.py::test_another_request_with_the_key_is_refused_and_does_nothing",
    ),
    Mutant(
        "a slot's job has no key",
        "scheduler/slots.py",
        'unique_key=f"{entry.name}@{slot.isoformat()}",',
        "unique_key=None,",
        "tests/scheduler/test_slots.py::test_two_schedulers_that_both_believe_they_lead_fire_a_slot_once",
    ),
    Mutant(
        "a lost answer counts as not done",
        "web/deductions.py",
        "        if not done:\n            return None\n",
        "        if not done or self._application_name:\n            return None\n",
        "tests/faults/test_lost_answers.py::"
        "test_a_use_whose_answer_was_lost_is_told_what_it_left_and_not_what_others_left_since",
    ),
    Mutant(
        "an answer does not wait for the disk",
        "domain/database.py",
        '" -c timezone=UTC -c client_encoding=UTF8"',
        '" -c timezone=UTC -c client_encoding=UTF8 -c synchronous_commit=off"',
        "tests/faults/test_database_restarts.py::"
        "test_what_was_answered_a_moment_before_the_database_is_killed_is_there_afterwards",
    ),
    Mutant(
        "an event is kept without its job",
        "domain/stripe_inbox.py",
        "job=_job_of(event_id, now) if has_effect else None,",
        "job=None,",
        "tests/domain/test_stripe_events.py::test_an_event_and_its_job_are_one_commit",
    ),
    Mutant(
        "a reservation is ended whatever became of it",
        "domain/reservations.py",
        '    if row.status != "reserved":\n',
        "    if row.status is None:\n",
        "tests/domain/test_reservations.py::test_a_reservation_ends_once",
    ),
    Mutant(
        "what waits for a clock that was set back goes on waiting",
        "domain/jobs/due.py",
        "            written_at > now + CLOCKS_DIFFER_MAX,\n",
        "            written_at < now,\n",
        "tests/domain/test_jobs_clock_set_back.py::test_a_new_job_is_due_and_done",
    ),
    Mutant(
        "where Stripe's events were read up to is told by our clock",
        "domain/reconciliation.py",
        "read_until = until if listed.at is None else min(until, listed.at)",
        "read_until = until",
        "tests/domain/test_reconciliation.py::"
        "test_what_is_lost_after_a_clock_of_ours_was_ahead_is_fetched_once_it_is_right",
    ),
    Mutant(
        "a migration waits for a table as long as it takes",
        "migrations/env.py",
        "SET lock_timeout = '{LOCK_SECONDS_MAX}s'",
        "SET lock_timeout = 0",
        "tests/migrations/test_revisions.py::"
        "test_a_migration_does_not_make_others_wait_for_who_is_in_its_way",
    ),
    Mutant(
        "a schema that is newer than the code is no schema",
        "migrations/revisions.py",
        "if current is None or current < head:",
        "if current != head:",
        "tests/web/test_health_routes.py::"
        "test_ready_with_what_a_newer_release_left_so_that_an_upgrade_may_take_its_time",
    ),
)
