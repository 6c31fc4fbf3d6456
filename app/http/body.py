"""Reads the body of a request, with limits on bytes and time. Decodes nothing (`decoding.py`)."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from app.errors import BodyTimeoutError, BodyTooLargeError, ClientDisconnectedError
from app.settings import Settings


async def read_body(request: Request, settings: Settings) -> bytes:
    """Read the body. Raises `BodyTooLargeError`, `BodyTimeoutError`, `ClientDisconnectedError`."""
    try:
        async with asyncio.timeout(settings.body_timeout_ms / 1000):
            return await _read(request, settings.max_body_bytes)
    except TimeoutError as error:
        raise BodyTimeoutError(f"the body took longer than {settings.body_timeout_ms} ms") from error
    except ClientDisconnect as error:
        raise ClientDisconnectedError("it hung up while it sent its body") from error


async def _read(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError(f"more than {limit} bytes")
    return b"".join(chunks)
