"""Where webhooks may go, and where nobody can have us send them."""

from __future__ import annotations

import pytest

from domain.settings import SettingsError, read_settings
from domain.webhooks import addresses
from domain.webhooks.addresses import AddressRefused, AddressRules

STRICT = AddressRules()
LOCAL = AddressRules(allows_http=True, allows_local=True)

PUBLIC = (
    *("8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0"),
    *("169.253.255.255", "192.167.1.1", "198.17.255.255", "198.20.0.0", "223.255.255.255", "11.0.0.1"),
    *("2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001:81b::200e", "2001:200::1"),
)

NOT_PUBLIC = (
    # this machine
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "::1", "::"),
    # this network
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255", "fd00::1", "fc00::1"),
    # link-local, and the metadata services of clouds
    *("169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200"),
    # IPv4 in IPv6's clothes: mapped, compatible, NAT64, 6to4, Teredo
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808"),
    *("64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    # everybody, many, examples, protocols, the future
    *("255.255.255.255", "224.0.0.1", "239.1.1.1", "240.0.0.1", "ff02::1", "192.0.2.1", "198.51.100.1", "203.0.113.9"),
    *("198.18.0.1", "192.0.0.1", "192.88.99.1", "2001:db8::1", "3fff::1", "5f00::1", "2001:10::1", "fec0::1", "100::1"),
    # no addresses
    *("", "localhost", "1.2.3", "1.2.3.4.5", "127.1", "0x7f000001", "2130706433", "0177.0.0.1"),
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public(address: str) -> None:
    assert addresses.is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public(address: str) -> None:
    assert not addresses.is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example/hooks",
        "ftp://app.example/",
        "file:///etc/passwd",
        "gopher://app.example/",
        "javascript:alert(1)",
        "//app.example/",
        "app.example/hooks",
        "",
        "https://",
        "https:///hooks",
        "https://user:password@app.example/",
        "https://user@app.example/",
        "https://app.example@127.0.0.1/",
        "https://app.example/#fragment",
        "https://app.example:99999/",
        "https://app.example:0/",
        "https://app.example:x/",
        "https://[::1/",
        "https://[::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[::ffff:127.0.0.1]/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1:8443/",
        "https://app.example/a b",
        "https://app.example/\n",
        "https://app.example/\r\nHost: evil.example",
        "https://app.example\\@127.0.0.1/",
        "https://аpp.example/",  # a Cyrillic letter
        "https://" + "a" * 2048 + ".example/",
    ],
)
def test_an_address_that_may_be_no_endpoint_is_refused_by_its_looks(url: str) -> None:
    with pytest.raises(AddressRefused):
        addresses.check_url(url, STRICT)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://app.example/hooks?v=1", "app.example", 443),
        ("https://APP.example:8443", "app.example", 8443),
        ("https://8.8.8.8/", "8.8.8.8", 443),
        ("https://[2606:4700:4700::1111]:444/x", "2606:4700:4700::1111", 444),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443),
    ],
)
def test_an_address_that_may(url: str, host: str, port: int) -> None:
    assert addresses.check_url(url, STRICT) == (host, port)


def test_one_address_that_is_not_public_spoils_all() -> None:
    addresses.check_addresses(["8.8.8.8", "2606:4700:4700::1111"], STRICT)
    for found in (["8.8.8.8", "10.0.0.1"], ["127.0.0.1"], []):
        with pytest.raises(AddressRefused):
            addresses.check_addresses(found, STRICT)


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.1", "localhost."])
def test_other_spellings_of_this_machine_are_found_when_they_are_looked_up(host: str) -> None:
    """The system's resolver reads them as addresses, or knows the name."""
    with pytest.raises(AddressRefused):
        addresses.check_reachable(f"https://{host}/", STRICT)


def test_a_host_that_nobody_knows_is_refused() -> None:
    with pytest.raises(AddressRefused, match="has no address"):
        addresses.check_reachable("https://nowhere.invalid/", LOCAL)


def test_this_machine_is_allowed_where_development_says_so() -> None:
    addresses.check_reachable("http://127.0.0.1:8080/hooks", LOCAL)
    with pytest.raises(AddressRefused, match="not public"):
        addresses.check_reachable("http://127.0.0.1:8080/hooks", AddressRules(allows_http=True))


def test_only_development_may_say_so() -> None:
    development = {"ENV": "development", "WEBHOOKS_TO_LOCAL": "on"}
    assert AddressRules.of(read_settings(development)) == LOCAL
    assert AddressRules.of(read_settings({"ENV": "development"})) == AddressRules(allows_http=True)
    production = {"MANA_SERVICE_KEY": "a-secret-of-ours", "STRIPE_WEBHOOK_SECRET": "whsec_of_ours"}
    assert AddressRules.of(read_settings(production)) == STRICT
    with pytest.raises(SettingsError, match="WEBHOOKS_TO_LOCAL"):
        read_settings({**production, "WEBHOOKS_TO_LOCAL": "on"})
