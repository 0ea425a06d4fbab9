"""The figures, each a function from the rig to what it found; the table names them."""

from __future__ import annotations

from collections.abc import Callable

from bench.figures import billing, enduring, growing, limits, paying, reading, spending
from bench.measure import Figure, Pace
from bench.rig import Rig

Measure = Callable[[Rig, Pace], list[Figure]]

FIGURES: dict[str, Measure] = {
    "deductions": spending.deductions,
    "one_statement": spending.one_statement,
    "alike": spending.alike,
    "plain_service": spending.plain_service,
    "bare_handler": spending.bare_handler,
    "hot_user": spending.hot_user,
    "p99_at_half": spending.p99_at_half,
    "lone_request": spending.lone_request,
    "batch_endpoint": spending.batch_endpoint,
    "wal_bytes": spending.wal_bytes,
    "balance_reads": reading.balance_reads,
    "transactions_list": reading.transactions_list,
    "renewals": billing.renewals,
    "webhook_accepted": paying.webhook_accepted,
    "event_to_credits": paying.event_to_credits,
    "grown": growing.grown,
    "growth_connections": growing.growth_connections,
    "growth_users": growing.growth_users,
    "growth_entries": growing.growth_entries,
    "posting_connections": limits.posting_connections,
    "partitions": limits.partitions,
    "fairness": enduring.fairness,
    "overload": enduring.overload,
    "memory": enduring.memory,
}
