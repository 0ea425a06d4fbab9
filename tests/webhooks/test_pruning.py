"""What is deleted in time, and what is not while it is on its way."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from domain.database import transaction
from domain.webhooks import endpoints, redelivering
from domain.webhooks.pruning import KEPT, prune
from tests.support.ledger import NOW, scalar
from tests.support.webhooks import Post, answering, listen
from tests.webhooks.test_lanes import happen, states_of


def prune_now(post_office: Post) -> int:
    with transaction(post_office.engine) as connection:
        return prune(connection, now=post_office.now)


def test_events_of_long_ago_go_with_their_deliveries(engine: Engine, post_office: Post) -> None:
    listen(engine)
    happen(engine, "anna", "ben")
    post_office.deliver()
    post_office.now = NOW + KEPT - timedelta(hours=1)
    assert prune_now(post_office) == 0
    post_office.forward(hours=2)
    assert prune_now(post_office) == 2
    assert states_of(engine) == {}


def test_what_an_operator_sends_again_is_kept_until_it_has_arrived(engine: Engine, post_office: Post) -> None:
    made = listen(engine)
    happen(engine, "anna", "ben")
    post_office.deliver()
    post_office.now = NOW + KEPT - timedelta(hours=1)
    post_office.app.answers[made.url] = answering(500)
    with transaction(engine) as connection:
        delivery_id = scalar(engine, "SELECT id FROM ops.webhook_deliveries WHERE user_id = 'anna'")
        redelivering.redeliver(connection, delivery_id, now=post_office.now)
    post_office.deliver_until(post_office.now + timedelta(hours=12), step=timedelta(hours=1))
    assert prune_now(post_office) == 1, "the other"
    assert states_of(engine) == {"waiting": 1}
    post_office.app.answers.clear()
    post_office.deliver_until(post_office.now + timedelta(days=1), step=timedelta(hours=1))
    assert states_of(engine) == {"delivered": 1}
    assert prune_now(post_office) == 1


def test_what_waits_for_an_endpoint_that_nobody_enables_goes(engine: Engine, post_office: Post) -> None:
    made = listen(engine)
    happen(engine, "anna")
    with transaction(engine) as connection:
        endpoints.pause(connection, made.id, now=NOW)
    post_office.now = NOW + KEPT + timedelta(hours=1)
    assert prune_now(post_office) == 1
    assert scalar(engine, "SELECT count(*) FROM ops.webhook_lanes") == 0
