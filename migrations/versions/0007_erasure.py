"""Who was erased, by pseudonym alone: so that what was rightly deleted is not missed."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One small table."""
    op.execute("""
        CREATE TABLE ops.erasures (
            pseudonym text PRIMARY KEY,
            erased_at timestamptz NOT NULL,
            row_count integer NOT NULL
        )
    """)


def downgrade() -> None:
    """Forget who was erased; what was erased stays so."""
    op.execute("DROP TABLE ops.erasures")
