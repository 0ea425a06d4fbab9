"""The operators' pages: who gets in, what is refused, what stays harmless, and what they say in outages."""

import html
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from devkit.postgres import Postgres
from devkit.valkey import Valkey
from domain.jobs import job_details
from domain.operators.people import SHOWN_MAX
from tests.support.ops_pages import LOGINS, PASSWORD, Browser, failed_job, in_database
from tests.support.service import Service, serving_in_this_loop
from web.operators.doing import DOINGS
from web.operators.views.signing import safe_next
from web.routes.ops import PAGES as ROUTES

EVIL = "<script>alert('x')</script>"

PAGES = (
    "/ops",
    "/ops/jobs",
    "/ops/queues",
    "/ops/purchases",
    "/ops/events",
    "/ops/people",
    "/ops/person?id=sam",
    "/ops/subscriptions",
    "/ops/webhooks",
    "/ops/ledger",
    "/ops/audit",
)


@asynccontextmanager
async def browsing(database_url: str, redis_url: str, *, has_books: bool = True) -> AsyncIterator[Browser]:
    async with serving_in_this_loop(database_url, redis_url, more=LOGINS, has_books=has_books) as service:
        browser = Browser(service)
        async with browser.session:
            yield browser


@pytest.fixture
def service_variables() -> dict[str, str]:
    return LOGINS


@pytest.fixture
async def browser(service: Service) -> AsyncIterator[Browser]:
    browser = Browser(service)
    async with browser.session:
        yield browser


async def test_whoever_is_not_signed_in_is_sent_to_sign_in(browser: Browser) -> None:
    for path in PAGES:
        answer, _ = await browser.get(path)
        assert answer.status == 303, path
        assert answer.headers["Location"].startswith("/ops/sign-in")
    answer, _ = await browser.get("/ops", headers={"X-Ops-Fragment": "live"})
    assert answer.status == 401


async def test_a_forged_session_is_none(browser: Browser) -> None:
    answer, _ = await browser.get("/ops", headers={"Cookie": "mana-ops=" + "a" * 43})
    assert answer.status == 303


async def test_every_page_answers_and_may_not_be_framed_kept_or_told_of(browser: Browser) -> None:
    await browser.sign_in()
    for path in PAGES:
        answer, body = await browser.get(path)
        assert answer.status == 200, (path, body)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert " style=" not in body
        assert not re.search(r"<script(?! src=)|\son\w+=", body), path


async def test_no_app_may_read_an_operators_page(browser: Browser) -> None:
    await browser.sign_in()
    answer, _ = await browser.get("/ops", headers={"Origin": "https://app.mana.how"})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_an_administrators_token_signs_in_and_a_users_does_not(browser: Browser) -> None:
    answer, _ = await browser.post("/ops/sign-in", token=browser.service.auth.mint("ulla"))
    assert answer.status == 401
    answer, _ = await browser.post("/ops/sign-in", token=browser.service.auth.mint("root", role="admin"))
    assert answer.status == 303
    _, body = await browser.get("/ops")
    assert "admin:root" in body


async def test_a_wrong_password_signs_nobody_in(browser: Browser) -> None:
    answer, body = await browser.post("/ops/sign-in", name="anna", password=PASSWORD + "?")
    assert answer.status == 401
    assert "Name or password is wrong" in body
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example",
        "//evil.example",
        "/ops//evil.example",
        "/\\evil.example",
        "/opsevil",
        "/ops\n/x",
    ],
)
async def test_signing_in_leads_to_no_other_site(browser: Browser, wanted: str) -> None:
    answer, _ = await browser.post("/ops/sign-in", name="anna", password=PASSWORD, next=wanted)
    assert answer.headers["Location"] == "/ops"


def test_signing_in_leads_on_to_the_page_that_was_wanted() -> None:
    wanted = "/ops/jobs?state=failed&kind=refund_credits"
    assert safe_next(wanted) == wanted


async def test_a_form_without_its_word_does_nothing(browser: Browser, database_url: str) -> None:
    await browser.sign_in()
    job_id = failed_job(database_url)
    for word in ({}, {"csrf": ""}, {"csrf": "0" * 64}):
        answer, _ = await browser.post("/ops/do/retry_job", job=str(job_id), reason="because", **word)
        assert answer.status == 403
    csrf = await browser.csrf()
    for path in ("/ops/do/retry_job", "/ops/queues/letter", "/ops/export", "/ops/sign-out"):
        answer, _ = await browser.post(path, headers={"Sec-Fetch-Site": "same-site"}, csrf=csrf)
        assert answer.status == 403, path
    state = in_database(database_url, lambda connection: job_details(connection, job_id).state.value)
    assert state == "failed"


def every_form() -> list[str]:
    """Each address that takes a form, but signing in: that needs no session."""
    posts = [path for method, path, _ in ROUTES if method == "POST" and path != "/sign-in"]
    return [
        "/ops" + path.replace("{action}", action)
        for path in posts
        for action in (DOINGS if "{action}" in path else ("",))
    ]


async def test_every_form_is_refused_without_a_session_its_word_or_the_permission(browser: Browser) -> None:
    fields = {"job": str(uuid4()), "user": "sam", "kind": "x", "event": "evt_1", "purchase": str(uuid4())}
    fields |= {"amount": "1", "reason": "because", "queue": "mail", "message": "m", "typed": "sam"}
    before = browser.service.books.everything()
    assert len(every_form()) == len(DOINGS) + 3
    for path in every_form():
        answer, _ = await browser.post(path, headers={"Cookie": "mana-ops=" + "a" * 43}, **fields)
        assert (answer.status, answer.headers.get("Location")) == (303, "/ops/sign-in"), path
    assert browser.service.books.everything() == before
    await browser.sign_in()
    before = browser.service.books.everything()
    for path in every_form():
        answer, _ = await browser.post(path, **fields)
        assert answer.status == 403, path
    assert browser.service.books.everything() == before
    await browser.sign_in("vera")
    csrf = await browser.csrf()
    before = browser.service.books.everything()
    for path in every_form():
        if path not in ("/ops/sign-out", "/ops/export"):
            answer, _ = await browser.post(path, csrf=csrf, **fields)
            assert answer.status == 403, path
    assert browser.service.books.everything() == before


async def test_a_viewer_sees_no_buttons_and_is_refused_when_posting(
    browser: Browser, database_url: str
) -> None:
    await browser.sign_in("vera")
    job_id = failed_job(database_url)
    for path in (*PAGES, f"/ops/jobs/{job_id}"):
        answer, body = await browser.get(path)
        assert answer.status == 200
        assert "/ops/do/" not in body, path
        assert "Requeue" not in body
    csrf = await browser.csrf()
    for path in ("/ops/do/retry_job", "/ops/queues/letter"):
        answer, _ = await browser.post(path, csrf=csrf, job=str(job_id), reason="because", queue="mail")
        assert answer.status == 403, path
    answer, _ = await browser.get(f"/ops/do/retry_job?job={job_id}")
    assert answer.status == 403


async def test_an_action_needs_a_reason_and_is_audited(browser: Browser, database_url: str) -> None:
    await browser.sign_in()
    job_id = str(failed_job(database_url))
    csrf = await browser.csrf()
    answer, _ = await browser.post("/ops/do/retry_job", csrf=csrf, job=job_id, reason=" ")
    assert answer.status == 400
    answer, _ = await browser.post("/ops/do/retry_job", csrf=csrf, job=job_id, reason="ticket 12")
    assert answer.status == 303
    _, body = await browser.get("/ops/audit")
    assert "ticket 12" in body
    assert "login:anna" in body


async def test_a_preview_changes_nothing_and_an_adjustment_sent_twice_counts_once(browser: Browser) -> None:
    await browser.service.grant("sam", 10)
    await browser.sign_in()
    _, body = await browser.get("/ops/do/adjust_credits?user=sam&direction=grant&amount=5")
    key = re.search(r'name="key" value="([^"]+)"', body)
    assert key is not None
    assert await browser.service.figures("sam") == (10, 10, 0)
    form = {"user": "sam", "direction": "grant", "amount": "5", "key": key[1], "reason": "lost a picture"}
    csrf = await browser.csrf()
    for _ in range(2):
        answer, _ = await browser.post("/ops/do/adjust_credits", csrf=csrf, **form)
        assert answer.status == 303
    assert await browser.service.figures("sam") == (15, 15, 0)


async def test_erasing_asks_for_the_id_to_be_typed_again(browser: Browser) -> None:
    await browser.service.grant("sam", 10)
    await browser.sign_in()
    csrf = await browser.csrf()
    form = {"csrf": csrf, "user": "sam", "reason": "asked for by mail"}
    answer, _ = await browser.post("/ops/do/erase_person", **form, typed="sum")
    assert answer.status == 400
    answer, _ = await browser.post("/ops/do/erase_person", **form, typed="sam")
    assert answer.status == 303
    _, body = await browser.get("/ops/person?id=sam")
    assert "Nobody with this id is known" in body


async def test_a_stored_script_is_shown_and_never_run(browser: Browser, database_url: str) -> None:
    service = browser.service
    await service.grant(EVIL, 100, description=EVIL)
    await service.use(EVIL, 1, appId=EVIL, description=EVIL, metadata={EVIL: EVIL})
    await service.reserve(EVIL, 1, reason=EVIL)
    gift = {"totalCredits": 5, "message": EVIL}
    answer = await service.call("POST", "/api/v1/gifts", gift, headers=service.as_user(EVIL))
    assert answer.status == 201
    job_id = failed_job(database_url, note=EVIL, error=EVIL)
    await browser.sign_in()
    csrf = await browser.csrf()
    await browser.post("/ops/do/retry_job", csrf=csrf, job=str(job_id), reason=EVIL)
    url = "%3Cscript%3Ealert('x')%3C/script%3E"
    for path in (
        f"/ops/person?id={url}",
        f"/ops/people?q={url}x",
        f"/ops/jobs/{job_id}",
        f"/ops/jobs?kind={url}&user={url}&subject={url}",
        f"/ops/do/adjust_credits?user={url}&amount=5",
        f"/ops/do/erase_person?user={url}",
        "/ops/audit",
    ):
        _, body = await browser.get(path)
        assert "<script>" not in body, path
        assert "&lt;script&gt;" in body, path


async def test_the_live_part_is_sent_once_as_long_as_it_is_the_same(browser: Browser) -> None:
    await browser.sign_in()
    answer, body = await browser.get("/ops/audit", headers={"X-Ops-Fragment": "live"})
    assert "<html" not in body
    etag = answer.headers["ETag"]
    again, _ = await browser.get("/ops/audit", headers={"X-Ops-Fragment": "live", "If-None-Match": etag})
    assert again.status == 304


@pytest.mark.parametrize(
    "path",
    [
        "/ops/jobs?state=lost",
        "/ops/jobs?before=x",
        "/ops/jobs?since=yesterday",
        "/ops/purchases?offset=-1",
        "/ops/person",
        "/ops/do/adjust_credits?user=sam&amount=x",
        "/ops/queues/letter?queue=none&message=x",
    ],
)
async def test_what_cannot_be_asked_is_a_page_that_says_so(browser: Browser, path: str) -> None:
    await browser.sign_in()
    answer, body = await browser.get(path)
    assert answer.status == 400
    assert "Invalid request" in body


async def test_nul_and_bytes_that_are_no_text_are_taken_for_nothing(browser: Browser) -> None:
    await browser.sign_in()
    for path in ("/ops/people?q=%00", "/ops/jobs?user=a%00b", "/ops/people?q=%ff%fe"):
        answer, _ = await browser.get(path)
        assert answer.status == 200, path


@pytest.mark.parametrize(
    ("content_type", "raw"),
    [
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nanna',
        ),
        ("multipart/form-data", b"--x\r\n"),
        ("application/x-www-form-urlencoded; charset=nonsense", b"name=anna&password=x"),
        ("application/x-www-form-urlencoded; charset=utf-16", b"name=anna&password=x"),
        ("application/x-www-form-urlencoded; charset=rot13", b"name=anna&password=x"),
        ("application/x-www-form-urlencoded", b"\xff=\xfe"),
        ("application/x-www-form-urlencoded", b"name=%ff&password=%fe"),
        ("application/x-www-form-urlencoded", b"a&" * 5000),
        ("text/plain", b"name=anna&password=x"),
        ("nonsense", b""),
    ],
)
async def test_a_form_that_no_page_of_ours_sends_is_nobodys_and_no_defect(
    browser: Browser, content_type: str, raw: bytes
) -> None:
    url, headers = browser.service.url + "/ops/sign-in", {"Content-Type": content_type}
    async with browser.session.post(url, data=raw, headers=headers, allow_redirects=False) as answer:
        assert answer.status in (400, 401), await answer.text()


async def test_without_workers_the_overview_says_so(browser: Browser) -> None:
    await browser.sign_in()
    _, body = await browser.get("/ops")
    assert "No worker is alive" in body
    assert "never checked" in body


async def test_an_export_is_a_file_and_is_audited(browser: Browser) -> None:
    await browser.service.grant("sam", 10)
    await browser.sign_in("vera")
    csrf = await browser.csrf()
    answer, body = await browser.post("/ops/export", csrf=csrf, user="sam", format="csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="entries.csv"'
    assert body.splitlines()[0].startswith("id,userId,type")
    assert len(body.splitlines()) == 2
    _, body = await browser.get("/ops/audit")
    assert "export entries" in body


async def test_each_list_of_a_person_goes_on_where_the_page_ends(browser: Browser, database_url: str) -> None:
    service = browser.service
    await service.grant("sam", 1000)
    for number in range(SHOWN_MAX):
        await service.reserve("sam", 1, reason=f"hold {number}")
        await service.use("sam", 1, description=f"use {number}")
        gift = {"totalCredits": 1, "message": f"gift {number}"}
        made = await service.call("POST", "/api/v1/gifts", gift, headers=service.as_user("sam"))
        await service.call(
            "POST", f"/api/v1/gifts/{made.json['code']}/redeem", {}, headers=service.as_user("sam")
        )
        failed_job(database_url, error=f"error {number}")
    await browser.sign_in()
    _, body = await browser.get("/ops/person?id=sam")
    older = re.findall(r'<a class="button small" href="([^"]+)">Older', body)
    assert [url.partition("?")[0] for url in older] == [
        "/ops/person/entries", "/ops/person/reservations", "/ops/person/gifts-made",
        "/ops/person/gifts-received", "/ops/jobs",
    ]  # fmt: skip
    for url in older:
        answer, _ = await browser.get(html.unescape(url))
        assert answer.status == 200, url
    _, body = await browser.get("/ops/person/entries?id=sam&offset=50")
    assert re.search(r'href="\?id=sam">Newer', body)
    assert "51 to 76" in body
    assert "a reward" not in body.partition("51 to")[0]
    _, body = await browser.get("/ops/person/reservations?id=sam")
    assert [f"hold {number}<" in body for number in (0, SHOWN_MAX - 1)] == [True, True]


async def test_with_redis_stopped_the_pages_say_so_and_stay_up(
    database_url: str, own_valkey: Callable[[], Valkey]
) -> None:
    valkey = own_valkey()
    async with browsing(database_url, valkey.url(0)) as browser:
        await browser.sign_in()
        valkey.stop()
        for path, says in (("/ops", "Redis does not answer"), ("/ops/queues", "Redis does not answer")):
            answer, body = await browser.get(path)
            assert answer.status == 200
            assert says in body


async def test_with_postgresql_stopped_the_overview_says_so_and_nobody_can_act(
    own_postgres: Callable[[], Postgres], redis_url: str
) -> None:
    postgres = own_postgres()
    async with browsing(postgres.url(), redis_url, has_books=False) as browser:
        await browser.sign_in()
        csrf = await browser.csrf()
        postgres.stop()
        answer, body = await browser.get("/ops")
        assert answer.status == 200
        assert "PostgreSQL does not answer" in body
        answer, body = await browser.get("/ops/jobs")
        assert answer.status == 503
        assert "PostgreSQL does not answer" in body
        answer, _ = await browser.post("/ops/do/run_billing", csrf=csrf, reason="because")
        assert answer.status == 503


async def test_a_stranger_is_told_of_an_outage_and_nothing_else(
    own_postgres: Callable[[], Postgres], redis_url: str
) -> None:
    postgres = own_postgres()
    async with browsing(postgres.url(), redis_url, has_books=False) as browser:
        postgres.stop()
        answer, body = await browser.get("/ops", headers={"Cookie": "mana-ops=" + "a" * 43})
        assert answer.status == 503
        assert "nobody can be signed in now" in body


async def test_the_service_tells_no_names_in_its_log(
    browser: Browser, capfd: pytest.CaptureFixture[str]
) -> None:
    await browser.sign_in()
    await browser.get("/ops/person?id=somebody-in-particular")
    assert "somebody-in-particular" not in "".join(capfd.readouterr())
