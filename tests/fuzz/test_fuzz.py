"""`./dev fuzz` follows the routes: each is asked, with the credential that it is for."""

from __future__ import annotations

from domain.errors import Refusal
from tests.fuzz.hooks import OTHER_NAMES, STAYS, UNSAYABLE
from tests.fuzz.passes import NOT_ASKED, asked_by, by_operation_id, passes
from web.openapi.document import path_of
from web.routing import Access

USER, SERVICE, ADMIN = passes("user", "stranger", "admin", "key")

MAY_ASK = {
    Access.OPEN: {USER.name, SERVICE.name, ADMIN.name},
    Access.USER: {USER.name, ADMIN.name},
    Access.SERVICE: {SERVICE.name, ADMIN.name},
    Access.ADMIN: {ADMIN.name},
}


def test_every_route_is_asked_by_everybody_whom_it_is_for_and_by_nobody_else() -> None:
    for name, operation in by_operation_id().items():
        asked = {one.name for one in (USER, SERVICE, ADMIN) if name in asked_by(one)}
        assert asked == (set() if name in NOT_ASKED else MAY_ASK[operation.access]), name


def test_what_is_passed_over_is_there() -> None:
    paths = {path_of(operation) for operation in by_operation_id().values()}
    assert STAYS.keys() <= paths
    assert {path for _, path in OTHER_NAMES} <= paths
    assert UNSAYABLE.keys() <= by_operation_id().keys()
    assert all(issubclass(kind, Refusal) for one in by_operation_id().values() for kind in one.refusals)
