"""Nothing but the download: the requests of a plan once more, their answers thrown away.

`python -m benchmarks.bare FILE SIZE` sends the requests in FILE (JSON lines of `Asked`), ten at a time and in any
order, as if every page were known beforehand, and writes to SIZE how many bytes came, uncompressed.  What it costs is
the floor for whoever reads the same over HTTP with httpx.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

AT_ONCE = 10


class Asked(msgspec.Struct):
    """One request that was answered with 200: at which API, and what was asked."""

    api: str
    method: str
    path: str
    query: str
    body: str


def read(path: Path) -> list[Asked]:
    """The requests in a file."""
    return [msgspec.json.decode(line, type=Asked) for line in path.read_bytes().splitlines()]


def write(path: Path, requests: Iterable[Asked]) -> None:
    """Put requests into a file."""
    path.write_bytes(b"\n".join(map(msgspec.json.encode, requests)))


def pagerduty_headers(token: str) -> dict[str, str]:
    """What every request to PagerDuty has with it."""
    return {"Authorization": f"Token token={token}", "Accept": "application/vnd.pagerduty+json;version=2"}


def _clients() -> Iterator[tuple[str, httpx.AsyncClient]]:
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    pagerduty = pagerduty_headers(os.environ["PAGERDUTY_TOKEN"])
    for api, url, headers in (
        ("pagerduty", os.environ["PAGERDUTY_API_URL"], pagerduty),
        ("port", os.environ["PORT_BASE_URL"], {}),
    ):
        sent = {"Content-Type": "application/json", "Accept-Encoding": "gzip", **headers}
        yield api, httpx.AsyncClient(base_url=url, headers=sent, limits=limits, timeout=120)


async def _log_in(port: httpx.AsyncClient) -> None:
    body = {"clientId": os.environ["PORT_CLIENT_ID"], "clientSecret": os.environ["PORT_CLIENT_SECRET"]}
    reply = (await port.post("/v1/auth/access_token", json=body)).raise_for_status()
    port.headers["Authorization"] = f"Bearer {reply.json()['accessToken']}"


async def download(requests: Iterable[Asked]) -> int:
    """Send them all; how many bytes came, uncompressed."""
    clients = dict(_clients())
    await _log_in(clients["port"])
    waiting = iter(requests)
    sizes: list[int] = []

    async def some() -> None:
        for one in waiting:
            url = f"{one.path}?{one.query}" if one.query else one.path
            reply = await clients[one.api].request(one.method, url, content=one.body.encode())
            sizes.append(len(reply.raise_for_status().content))

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some())
    for client in clients.values():
        await client.aclose()
    return sum(sizes)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(str(asyncio.run(download(read(Path(sys.argv[1]))))), encoding="ascii")
