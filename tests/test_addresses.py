"""What counts as a private address, however it is written."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.addresses import AllowList, is_public, may_call, why_not

NOBODY = AllowList()

PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
]


@pytest.mark.parametrize("text", PRIVATE)
def test_private_in_every_form(text: str) -> None:
    assert not is_public(ip_address(text))
    host = f"[{text}]" if ":" in text else text
    assert "private address" in str(why_not(f"https://{host}/hook", NOBODY))


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public(text: str) -> None:
    assert is_public(ip_address(text))
    host = f"[{text}]" if ":" in text else text
    assert why_not(f"https://{host}/hook", NOBODY) is None


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_what_it_maps(address) -> None:
    for form in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert is_public(ip_address(form)) == is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://",
        "http://exa mple.com/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://user:word@example.com/",
        "http://user@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
    ],
)
def test_addresses_that_are_refused_by_their_form(url: str) -> None:
    assert why_not(url, NOBODY)


def test_the_operator_allows_names_addresses_and_networks() -> None:
    allowed = AllowList.read(["Hooks.Internal", "10.1.2.3", "192.168.0.0/16", "[fd00::1]"])
    assert allowed.has_name("hooks.internal.")
    assert not allowed.has_name("nothooks.internal")
    for text in ("10.1.2.3", "192.168.7.7", "fd00::1"):
        assert may_call(ip_address(text), allowed)
    for text in ("10.1.2.4", "127.0.0.1", "fd00::2"):
        assert not may_call(ip_address(text), allowed)
    assert why_not("http://10.1.2.3/hook", allowed) is None
