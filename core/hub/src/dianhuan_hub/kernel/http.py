"""The HTTP client of a plugin: it reaches the hosts of the plugin's manifest and no other.

A manifest names hosts as `api.example.cn`, `api.example.cn:8443`, `*.example.cn` (any below it) or `*` (any host that
is not this machine, for adapters whose address a city configures). This machine itself is reached only where a
loopback name or address stands in the manifest: other services of the hub's machine are none of a plugin's business.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence

import httpx

from dianhuan_sdk import PluginError

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def client_factory(plugin: str, hosts: Sequence[str], *, timeout: float = 30.0) -> Callable[[], httpx.AsyncClient]:
    """A function that makes clients for one plugin.

    Args:
        plugin: id of the plugin, for messages.
        hosts: `capabilities.hosts` of its manifest.
        timeout: seconds for connecting, and for each read and write.
    """

    def make() -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=_DeclaredHosts(plugin, hosts),
            follow_redirects=False,  # a redirect is another host's way around the manifest
            trust_env=False,  # and so is a proxy
            timeout=timeout,
        )

    return make


class _DeclaredHosts(httpx.AsyncBaseTransport):
    def __init__(self, plugin: str, hosts: Sequence[str]) -> None:
        self._plugin = plugin
        self._hosts = tuple(h.lower() for h in hosts)
        self._local = any(_without_port(h) in _LOOPBACK_NAMES for h in self._hosts)
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host.lower()
        port = request.url.port or {"http": 80, "https": 443}.get(request.url.scheme, 0)
        if not any(_matches(declared, host, port) for declared in self._hosts):
            raise self._refusal(f"{host}:{port}")
        if not self._local and await _is_this_machine(host):
            raise self._refusal(f"{host}:{port}, which is this machine,")
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _refusal(self, target: str) -> PluginError:
        return PluginError(
            f"plugin {self._plugin} calls {target} but does not declare it",
            expected=f"one of {', '.join(self._hosts)}" if self._hosts else "no calls: its manifest names no host",
            hint="the plugin's maintainers must declare the host under capabilities.hosts",
        )


def _without_port(declared: str) -> str:
    return declared.rpartition(":")[0] if declared.count(":") == 1 else declared.strip("[]")


def _matches(declared: str, host: str, port: int) -> bool:
    if declared.count(":") == 1:
        declared, _, wanted = declared.rpartition(":")
        if wanted != str(port):
            return False
    if declared == "*":
        return True
    if declared.startswith("*."):
        return host.endswith(declared[1:])
    return host == declared.strip("[]")


async def _is_this_machine(host: str) -> bool:
    """Does the name or address mean this machine? A name may resolve to a loopback address too."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False  # it does not resolve: connecting fails with the right error
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return any(
        a.is_loopback or a.is_unspecified or a.is_link_local or (a.version == 6 and _inner_loopback(a))
        for a in addresses
    )


def _inner_loopback(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped is not None and (mapped.is_loopback or mapped.is_unspecified)
