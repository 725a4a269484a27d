"""Receives requests' bodies: how large, how slow, and how many at once.

What is in them is the interfaces' business.
"""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from localnet.errors import BadRequest

PAUSE_SECONDS = 30.0
"""Longest pause between two pieces of a body."""
MAX_BYTES_AT_ONCE = 2 * 1024 * 1024 * 1024
"""Bytes that bodies may have together while they are received."""

_receiving = 0


async def receive(request: Request, limit: int) -> bytes:
    """A request's body.

    Raises `BadRequest`: larger than ``limit`` bytes (413), too slow (408), cut off, or too many at once (429).
    """
    global _receiving
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and len(declared) > len(str(limit)):
        raise _too_large(limit)
    body = bytearray()
    pieces = request.stream()
    try:
        while True:
            try:
                piece = await asyncio.wait_for(anext(pieces), PAUSE_SECONDS)
            except StopAsyncIteration:
                return bytes(body)
            except TimeoutError as error:
                raise BadRequest(f"no more of the request body for {PAUSE_SECONDS:.0f} seconds", 408) from error
            except ClientDisconnect as error:
                raise BadRequest("the request body was cut off") from error
            body += piece
            _receiving += len(piece)
            if len(body) > limit:
                raise _too_large(limit)
            if _receiving > MAX_BYTES_AT_ONCE:
                raise BadRequest("Service is overloaded, try again later.", 429)
    finally:
        _receiving -= len(body)


def _too_large(limit: int) -> BadRequest:
    return BadRequest(f"request body of more than {limit} bytes", 413)
