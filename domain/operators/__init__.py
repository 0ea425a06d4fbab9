"""What operators see and do.

They see through read models: functions over an open connection that return structs.  They act through
commands (domain.operators.commands): `preview` says what would change, `perform` does it and writes the audit.
"""

from domain.operators.audit import (
    Action,
    AuditFilter,
    AuditRecord,
    Operator,
    Role,
    list_audit,
)
from domain.operators.checks import list_checks
from domain.operators.jobs_seen import JobFilter, JobLine, JobSeen, job_seen, list_jobs
from domain.operators.overview import Overview, overview
from domain.operators.payments_seen import (
    EventFilter,
    EventLine,
    EventSeen,
    PurchaseFilter,
    PurchaseLine,
    PurchaseSeen,
    event_seen,
    list_events,
    list_purchases,
    purchase_seen,
)
from domain.operators.people import Found, FoundBy, Person, find, person
from domain.operators.subscriptions import (
    RevenueDay,
    SubscriptionSeen,
    SubscriptionState,
    coming_revenue,
    list_subscriptions,
    renewals,
)

__all__ = [
    "Action",
    "AuditFilter",
    "AuditRecord",
    "EventFilter",
    "EventLine",
    "EventSeen",
    "Found",
    "FoundBy",
    "JobFilter",
    "JobLine",
    "JobSeen",
    "Operator",
    "Overview",
    "Person",
    "PurchaseFilter",
    "PurchaseLine",
    "PurchaseSeen",
    "RevenueDay",
    "Role",
    "SubscriptionSeen",
    "SubscriptionState",
    "coming_revenue",
    "event_seen",
    "find",
    "job_seen",
    "list_audit",
    "list_checks",
    "list_events",
    "list_jobs",
    "list_purchases",
    "list_subscriptions",
    "overview",
    "person",
    "purchase_seen",
    "renewals",
]
