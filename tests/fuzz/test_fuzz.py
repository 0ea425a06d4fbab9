"""`./dev fuzz` follows the routes: each is asked, with the credential that it is for."""

from __future__ import annotations

import re

from tests.fuzz.__main__ import ROUTES
from web.app import operations
from web.openapi.document import path_of

NOT_ASKED = {"/metrics", "/docs"}
"""No JSON, and no business of callers'."""


def test_every_route_is_asked_with_its_own_credential_and_no_other() -> None:
    for operation in operations():
        asked_as = {access for access, routes in ROUTES.items() if re.search(routes, path_of(operation))}
        # A gift is looked up at an address where others need a token: it takes one, too.
        asked_as -= {one for one in asked_as if operation.path == "/api/v1/gifts/{code}"}
        is_left_out = operation.path in NOT_ASKED or operation.path == "/api/v1/gifts/{code}"
        assert asked_as == (set() if is_left_out else {operation.access}), operation.path
