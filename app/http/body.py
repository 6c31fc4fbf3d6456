"""Reads the body of a request, with limits on bytes and time. Decodes nothing (`decoding.py`)."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from app.errors import BodyTimeoutError, BodyTooLargeError, ClientDisconnectedError


async def read_body(request: Request, max_bytes: int, timeout_ms: int) -> bytes:
    """Read the body. Raises `BodyTooLargeError`, `BodyTimeoutError`, `ClientDisconnectedError`."""
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            return await _read(request, max_bytes)
    except TimeoutError as error:
        raise BodyTimeoutError(f"the body took longer than {timeout_ms} ms") from error
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
