"""Gifts: addresses compared without case, and the look-ups that gifts need.

A gift that it gave away and left active (two redeemed it at once) is depleted, not there to be taken again.

Locks: gifts.gift_codes is updated, under a lock that lets nobody else write it until it commits.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

FORWARD = """
ALTER TABLE gifts.gift_codes ADD target_address text;
UPDATE gifts.gift_codes SET target_address = lower(btrim(target_email)) WHERE target_email IS NOT NULL;
UPDATE gifts.gift_codes g SET status = 'depleted', redeemed = 1
WHERE status = 'active' AND (redeemed > 0 OR EXISTS (
    SELECT FROM gifts.gift_redemptions r WHERE r.gift_code_id = g.id AND r.status = 'success'));

CREATE INDEX gift_codes_active_by_expiry ON gifts.gift_codes (expires_at) WHERE status = 'active';
CREATE INDEX gift_codes_active_by_address ON gifts.gift_codes (target_address) WHERE status = 'active';
CREATE INDEX gift_codes_by_creator ON gifts.gift_codes (creator_id, created_at);
CREATE INDEX gift_redemptions_by_redeemer ON gifts.gift_redemptions (redeemer_user_id, created_at);
CREATE INDEX gift_redemptions_by_gift ON gifts.gift_redemptions (gift_code_id);
"""

BACK = """
DROP INDEX gifts.gift_codes_active_by_expiry, gifts.gift_codes_active_by_address,
    gifts.gift_codes_by_creator, gifts.gift_redemptions_by_redeemer, gifts.gift_redemptions_by_gift;
ALTER TABLE gifts.gift_codes DROP target_address;
"""


def upgrade() -> None:
    """Add the folded address, and the indexes; mend states."""
    op.execute(FORWARD)


def downgrade() -> None:
    """Take them away again; no row is lost."""
    op.execute(BACK)
