"""A gate: passes each GET on to an instance of a service, which it finds by name. Run it as `gate.py PORT SERVICE`.

client --HTTP--> gate --Resolver (a watch of the endpoints)--> the next endpoint that takes requests
"""

from __future__ import annotations

import asyncio
import sys

from plum_client import Resolver, ServiceClient, connect


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, http: ServiceClient, service: str) -> None:
    """One client, one request after the other."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split(b" ", 2)[1].decode()
            try:
                answer = await http.request("GET", service, path)
                status, body = answer.status, answer.body
            except Exception as error:
                status, body = 502, f"{error}\n".encode()
                say(f"lost: {error!r}")
            writer.write(b"HTTP/1.1 %d -\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client has gone
    finally:
        writer.close()


async def main(port: int, service: str) -> None:
    async with Resolver(connect()) as resolver, ServiceClient(resolver) as http:
        server = await asyncio.start_server(lambda *ends: serve(*ends, http, service), "127.0.0.1", port)
        say(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/ leads to {service}")
        async with server:
            await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
