"""`dianhuan serve`: the hub's API, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from datetime import time
from types import FrameType
from typing import Annotated

import typer
import uvicorn

from dianhuan_hub.api import create_app
from dianhuan_hub.app import Hub, open_hub
from dianhuan_hub.background import services_running
from dianhuan_hub.cli._output import emit
from dianhuan_hub.cli._state import hub_config
from dianhuan_hub.gateway import GatewayThread, own_process
from dianhuan_hub.kernel.config import Api, HubConfig
from dianhuan_hub.night import every_night
from dianhuan_hub.realtime import RealtimeThread, courier_running
from dianhuan_sdk import ConfigError

log = logging.getLogger(__name__)


def command(
    host: Annotated[str, typer.Option(help="监听地址，默认 api.host · address, api.host by default")] = "",
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="端口，默认 api.port，0 为任一空闲端口 · 0 for any free port")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="输出 JSON · print JSON")] = False,
) -> None:
    """Serve `/graphql`, `/arrow/{table}`, `/health`, `/ready` and `/metrics`."""
    config = hub_config()
    api = Api(host=host or config.api.host, port=config.api.port if port is None else port)
    listener = _listen(api)
    with listener, open_hub(config) as hub:
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(hub),
                log_level="warning",
                lifespan="off",
                ws="websockets-sansio",
                ws_max_size=1 << 17,
                timeout_graceful_shutdown=10,
            )
        )

        def stop(number: int, frame: FrameType | None) -> None:
            # Uvicorn hands the signal on when it is done; taking it here lets the store be closed.
            server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        bound_host, bound_port = listener.getsockname()[:2]
        where = f"[{bound_host}]" if ":" in bound_host else bound_host
        address = f"http://{where}:{bound_port}"
        gateway = _gateway(hub, server)
        ticks = RealtimeThread(hub.realtime)
        try:
            ports = dict(gateway.start()) if gateway is not None else {}
            ticks.start()
            _announce(config, address, ports, as_json=as_json)
            asyncio.run(_serve(server, listener, hub))
        finally:
            ticks.stop()
            if gateway is not None:
                gateway.stop()


def _announce(config: HubConfig, address: str, ports: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        facts = {"address": address, "city": config.city.name, "keys": len(config.keys), "gateway": ports}
        emit(facts, as_json=True)
    else:
        print(f"{config.city.name} {address}/graphql")
        for name, place in ports.items():
            print(f"设备接入 · devices: {name} {place}")
        if not config.keys:
            print("尚无服务密钥，一切访问均被拒绝 · no service key: everything is denied; add [keys.NAME] to hub.toml")
    print(end="", flush=True)  # whoever started this process waits for the address


def _gateway(hub: Hub, server: uvicorn.Server) -> GatewayThread | None:
    if not hub.config.gateway.active:
        return None
    own_process()

    def failed(error: BaseException) -> None:
        log.critical("the gateway has ended", exc_info=error)
        server.should_exit = True

    return GatewayThread(hub.gateway, failed)


async def _serve(server: uvicorn.Server, listener: socket.socket, hub: Hub) -> None:
    at = hub.config.screening.at
    nights = asyncio.create_task(every_night(hub, time.fromisoformat(at))) if at else None
    ending = asyncio.create_task(_end_streams(server, hub))
    async with services_running(hub), courier_running(hub.realtime):
        await server.serve(sockets=[listener])
    ending.cancel()
    if nights is not None:
        nights.cancel()


async def _end_streams(server: uvicorn.Server, hub: Hub) -> None:
    """Event streams never end by themselves, and the server waits for every answer before it stops."""
    while not server.should_exit:
        await asyncio.sleep(0.1)
    hub.realtime.feed.close()


def _listen(api: Api) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            api.host, api.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1024)  # whoever reads the address may connect, even before the server takes it up
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {api.host}:{api.port}: {error.strerror}",
            expected="an address of this machine and a free port",
            hint="choose another api.host or api.port, or stop what listens there",
        ) from None
    return listener
