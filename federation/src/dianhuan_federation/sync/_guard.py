"""Where this hub connects to: an address is resolved once, checked, and the connection goes to that very address.

A peer's address comes from configuration or signed trust data, but a name in it is answered by whoever runs its DNS.
So the check sits below the HTTP client, between resolution and connect: a name that answers differently the second
time is checked the second time. TLS still checks the certificate against the name in the address.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

import httpcore
import httpx

from dianhuan_sdk import ConfigError, InputError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""`await resolve(host, port)` gives the addresses of a name as texts."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in found]


class AddressGuard:
    """Says to which addresses a connection may go.

    Args:
        allowed: private networks (CIDR) that peers may live in; everything else must be a public address.
        resolver: of names.

    Raises:
        ConfigError: an entry of `allowed` that is no network.
    """

    def __init__(self, allowed: Iterable[str] = (), resolver: Resolver = resolve) -> None:
        self._resolver = resolver
        try:
            self._allowed: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in allowed)
        except ValueError as error:
            raise ConfigError(f"allow_private: {error}", expected="networks such as 10.12.0.0/16") from None

    async def addresses(self, host: str, port: int, private_only: bool) -> list[str]:
        """The addresses of a host, every one of them checked.

        Args:
            host: name or literal address.
            port: port.
            private_only: only the allowed private networks will do, as for plain HTTP.

        Raises:
            InputError: no address, or one that must not be connected to.
        """
        try:
            texts = [str(ipaddress.ip_address(host.strip("[]")))]
        except ValueError:
            texts = list(await self._resolver(host, port))
        if not texts:
            raise InputError(f"{host} has no address")
        for text in texts:
            address = plain_address(ipaddress.ip_address(text.partition("%")[0]))
            inside = any(address.version == network.version and address in network for network in self._allowed)
            public = address.is_global and not address.is_multicast and not address.is_reserved
            if not (inside or (public and not private_only)):
                raise InputError(
                    f"{host} leads to {address}",
                    expected="https to a public address, or a network named under allow_private",
                )
        return texts


def plain_address(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that maps, tunnels or translates to it; any other as it is."""
    if isinstance(address, ipaddress.IPv6Address):
        teredo = address.teredo
        inner = address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None and int(address) >> 32 == 0 and int(address) > 1:
            inner = ipaddress.IPv4Address(int(address))
        return inner or address
    return address


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only; never to a Unix socket."""

    def __init__(self, guard: AddressGuard, private_only: bool) -> None:
        self._guard = guard
        self._private_only = private_only
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await self._guard.addresses(host, port, self._private_only)
        except (InputError, OSError, ValueError) as error:
            raise httpcore.ConnectError(str(error)) from None
        problem: Exception = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                problem = error
        raise problem

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Any = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("no Unix sockets here")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class GuardedTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over checked connections: https to public addresses, plain http to allowed private networks only.

    Args:
        guard: checks addresses.
        context: TLS settings; certificates and names are checked by default.
    """

    def __init__(self, guard: AddressGuard, context: ssl.SSLContext | None = None) -> None:
        tls = context or ssl.create_default_context()
        self._pools = {
            scheme: httpcore.AsyncConnectionPool(
                ssl_context=tls, max_connections=64, network_backend=_Backend(guard, scheme == "http")
            )
            for scheme in ("https", "http")
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        pool = self._pools.get(request.url.scheme)
        if pool is None or request.url.userinfo:
            raise httpx.UnsupportedProtocol(f"{request.url.scheme} addresses without user name only", request=request)
        asked = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            answer = await pool.handle_async_request(asked)
        except _TROUBLE as error:
            raise httpx.TransportError(str(error) or type(error).__name__, request=request) from None
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Stream(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.aclose()


_TROUBLE = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)


class _Stream(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._answer.aiter_stream():
                yield piece
        except _TROUBLE as error:
            raise httpx.TransportError(str(error) or type(error).__name__) from None

    async def aclose(self) -> None:
        await self._answer.aclose()
