"""${message}."""

from __future__ import annotations

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Say what changes, and which locks it takes for how long (docs/decisions/migrating-under-load.md)."""
    ${upgrades if upgrades else "op.execute('')"}


def downgrade() -> None:
    """Say what changes, and which locks it takes for how long."""
    ${downgrades if downgrades else "op.execute('')"}
