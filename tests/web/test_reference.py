"""The reference page: complete, offline, and its commands work as they stand."""

import asyncio
import json
import os
from html.parser import HTMLParser
from typing import Any

import pytest

from domain.settings import read_settings
from tests.support.client import SERVICE_KEY
from tests.support.service import Service
from web.app import operations
from web.openapi import make_document
from web.openapi.document import operation_ids, path_of
from web.reference import published
from web.reference.curl import curl_of
from web.reference.page import CONTENT_SECURITY_POLICY, STYLE, render
from web.reference.text import code_html, inline_html, json_html

BASE_URL = "http://localhost:3061"

NEVER = ("bad_request", "not_authenticated", "body_too_large")
"""What a pasted command must not be answered; that the example's reservation is unknown, it may."""


class Page(HTMLParser):
    """What is asked of a page: its ids, its links, the elements it is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return make_document(operations(), BASE_URL)


@pytest.fixture(scope="module")
def page(document: dict[str, Any]) -> Page:
    return Page(render(document))


def test_every_operation_has_its_place_and_is_in_the_contents(page: Page) -> None:
    for one, name in zip(operations(), operation_ids(operations()), strict=True):
        assert name in page.ids
        assert f"#{name}" in page.links
        assert path_of(one) in page.text


def test_ids_are_unique_and_every_link_inside_leads_somewhere(page: Page) -> None:
    assert len(set(page.ids)) == len(page.ids)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_the_page_needs_no_script_and_nothing_from_elsewhere(page: Page) -> None:
    assert not page.tags & {"script", "iframe", "object", "form", "img", "base"}
    assert not {name for name in page.attributes if name.startswith("on") or name == "style"}
    assert {link for link in page.links if not link.startswith("#")} == {"/openapi.json", "data:,"}
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_what_the_document_says_is_text_never_markup() -> None:
    assert inline_html("a `<b>` & <i>") == "a <code>&lt;b&gt;</code> &amp; &lt;i&gt;"
    assert "<script" not in json_html({"<script>": "</script>"})
    assert "<script" not in code_html("curl '<script>'")


async def test_the_page_is_served_with_a_strict_policy_and_a_tag(service: Service) -> None:
    answer = await service.call("GET", "/docs")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "'unsafe-inline'" not in CONTENT_SECURITY_POLICY
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    again = await service.call("GET", "/docs", headers={"If-None-Match": "W/" + answer.headers["ETag"]})
    assert (again.status, again.raw) == (304, b"")


async def test_head_tells_the_same_without_the_page(service: Service) -> None:
    answer = await service.call("HEAD", "/docs")
    assert (answer.status, answer.raw) == (200, b"")
    assert "ETag" in answer.headers


def test_it_is_made_once_and_named_after_base_url() -> None:
    settings = read_settings({"ENV": "development", "BASE_URL": "https://credits.mana.how/"})
    made = published(operations(), settings.base_url)
    assert b"https://credits.mana.how/api/v1/credits/use" in made["/docs"].body
    assert made == published(operations(), settings.base_url)


async def test_the_commands_work_as_they_stand(service: Service, document: dict[str, Any]) -> None:
    """Run by a shell against the service: none may be called malformed, and it answers what is documented."""
    await service.grant("demo", 1000)
    variables = {
        "PATH": os.environ["PATH"],
        "TOKEN": service.auth.mint("demo", role="admin"),
        "SERVICE_KEY": SERVICE_KEY,
        "NO_PROXY": "*",
    }
    ran = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "Prefer" in {parameter["name"] for parameter in operation["parameters"]}:
                continue  # waits for workers, which do not run here
            command = (
                curl_of(method.upper(), path, operation, service.url) + " -o /dev/stdout -w '\\n%{http_code}'"
            )
            output = await _shell(command, variables)
            body, _, status = output.rpartition("\n")
            assert status in operation["responses"], f"{command}\n{output}"
            is_json = "application/json" in operation["responses"][status]["content"]
            assert int(status) < 400 or not is_json or json.loads(body).get("code") not in NEVER, output
            ran += 1
    assert ran > 10


async def _shell(command: str, variables: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_shell(
        command, env=variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, f"{command}\n{err.decode()}"
    return out.decode()
