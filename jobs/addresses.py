"""Which addresses of the network the product may call on a client's behalf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

# Forms that carry an IPv4 address to somebody who unpacks it, and are hardly in use any more.
_TUNNELS = [
    ip_network("::/96"),  # IPv4-compatible, RFC 4291
    ip_network("64:ff9b:1::/48"),  # local NAT64, RFC 8215
    ip_network("2001::/32"),  # Teredo, RFC 4380
    ip_network("2002::/16"),  # 6to4, RFC 3056
    ip_network("fec0::/10"),  # site-local, RFC 3879
]
_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052
# Public by the registry, and yet a cloud's own: Azure's platform address, Oracle's metadata.
_OF_CLOUDS = [ip_network("168.63.129.16/32"), ip_network("192.0.0.0/24")]


@dataclass(frozen=True, slots=True)
class AllowList:
    """What the operator allows although it is private: host names, addresses and networks."""

    names: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def read(cls, entries: Sequence[str]) -> AllowList:
        """Read entries such as `hooks.internal`, `10.1.2.3` or `10.1.0.0/16`."""
        names, networks = set(), []
        for entry in entries:
            try:
                networks.append(ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                names.add(entry.lower().rstrip("."))
        return cls(frozenset(names), tuple(networks))

    def has_name(self, host: str) -> bool:
        return host.lower().rstrip(".") in self.names

    def has_address(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def is_public(address: Address) -> bool:
    """Tell whether an address is of the open internet, whatever IPv6 form it is wrapped in."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if any(address in tunnel for tunnel in _TUNNELS):
            return False
    if any(address in network for network in _OF_CLOUDS):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def may_call(address: Address, allowed: AllowList) -> bool:
    return is_public(address) or allowed.has_address(address)


def literal(host: str) -> Address | None:
    """Return the address that a host is in plain figures; None for a name.

    Only the usual form: others, such as `0x7f.1`, are left to the resolver, whose answer is
    checked like any other.
    """
    try:
        # A zone, as in `fe80::1%eth0`, changes nothing about what the address is.
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def why_not(url: str, allowed: AllowList) -> str | None:
    """Return what is wrong with the form of a URL that is to be called; None if nothing is.

    A name is not looked up here: what it stands for is checked at each call.
    """
    if not url or not url.isprintable() or " " in url or "\\" in url:
        return "it must be an address with http:// or https://"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "it must be an address with http:// or https://"
    if parts.scheme not in ("http", "https") or not host or port == 0:
        return "it must be an address with http:// or https://"
    if parts.username is not None or parts.password is not None:
        return "it must not hold a user name or password"
    address = literal(host)
    if address is not None and not may_call(address, allowed):
        return (
            f"{host} is a private address, which is not called unless the operator allows it in "
            "VBATCH_WEBHOOK_ALLOW"
        )
    return None
