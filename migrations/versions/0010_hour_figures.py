"""Figures of the hours that are over, kept by the scheduler: the overview need not read thirty days of entries."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None

FORWARD = """
CREATE TABLE ops.hour_figures (
    hour timestamptz PRIMARY KEY,
    entries integer NOT NULL,
    sold numeric(18, 3) NOT NULL,
    taken_back numeric(18, 3) NOT NULL,
    spent numeric(18, 3) NOT NULL,
    refunded numeric(18, 3) NOT NULL,
    granted numeric(18, 3) NOT NULL,
    withdrawn numeric(18, 3) NOT NULL,
    gifts_made numeric(18, 3) NOT NULL,
    gifts_received numeric(18, 3) NOT NULL,
    gifts_returned numeric(18, 3) NOT NULL
);
"""


def upgrade() -> None:
    """One empty table; the leading scheduler fills it within minutes, and until then entries are summed."""
    op.execute(FORWARD)


def downgrade() -> None:
    """They follow from the entries: nothing is lost."""
    op.execute("DROP TABLE ops.hour_figures")
