"""A registry of images on the loopback, with one tiny image and a lock on the door; it notes who knocks."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs

TLS = b"\x16"

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass
class Registry:
    """Serves `app:1`. With `password` it wants Basic, with `refresh` a token from its own token server."""

    files: bytes
    username: str = "somebody"
    password: str = ""
    refresh: str = ""
    port: int = 0
    broken: bool = False
    """The layer is not what the manifest says."""
    authorizations: list[str] = field(default_factory=list[str])
    pulls: int = 0

    @property
    def image(self) -> str:
        """What to ask an Engine for."""
        return f"127.0.0.1:{self.port}/app:1"

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[Registry]:
        """Open until the end of the block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(20):
            if await reader.read(1) == TLS:  # Engines try that first
                writer.close()
                return
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            method, path, _ = head[0].split()  # of the method all but its first letter
            status, kind, answer, more = self._answer(path, headers.get("authorization", ""), body.decode())
            lines = [f"HTTP/1.1 {status} .", f"Content-Type: {kind}", f"Content-Length: {len(answer)}", *more]
            lines += ["Docker-Distribution-Api-Version: registry/2.0", "Connection: close", "", ""]
            writer.write("\r\n".join(lines).encode() + (b"" if method == "EAD" else answer))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    def _answer(self, path: str, authorization: str, body: str) -> tuple[int, str, bytes, list[str]]:
        if path.startswith("/token"):
            given = parse_qs(body).get("refresh_token", [""])[0]
            token = json.dumps({"access_token": "pass", "token": "pass", "expires_in": 60}).encode()
            return (
                (200, "application/json", token, [])
                if given == self.refresh
                else (401, "text/plain", b"", [])
            )
        if not self._open(authorization):
            realm = f'Bearer realm="http://127.0.0.1:{self.port}/token",service="r"'
            challenge = realm if self.refresh else 'Basic realm="r"'
            errors = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "show yourself"}]}).encode()
            return 401, "application/json", errors, [f"WWW-Authenticate: {challenge}"]
        if authorization:
            self.authorizations.append(authorization)
        return self._content(path)

    def _open(self, authorization: str) -> bool:
        if self.refresh:
            return authorization == "Bearer pass"
        plain = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return not self.password or authorization == f"Basic {plain}"

    def _content(self, path: str) -> tuple[int, str, bytes, list[str]]:
        layer = gzip.compress(self.files, mtime=0)
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Env": ["PATH=/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [digest(self.files)]},
            }
        ).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": blob("application/vnd.docker.container.image.v1+json", config),
                "layers": [blob("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)],
            }
        ).encode()
        found = {
            "/v2/": b"{}",
            "/v2/app/manifests/1": manifest,
            f"/v2/app/manifests/{digest(manifest)}": manifest,
            f"/v2/app/blobs/{digest(config)}": config,
            f"/v2/app/blobs/{digest(layer)}": layer[:-40] + bytes(40) if self.broken else layer,
        }.get(path)
        if found is None:
            return (
                404,
                "application/json",
                b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}',
                [],
            )
        if found is manifest:
            self.pulls += 1
            return 200, MANIFEST, manifest, [f"Docker-Content-Digest: {digest(manifest)}"]
        return 200, "application/octet-stream", found, []


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def blob(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": kind, "size": len(data), "digest": digest(data)}
