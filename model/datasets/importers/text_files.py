"""A text file as blocks of UTF-8 that end at line ends: decompressed, decoded, bounded in memory.

Compression and byte order marks are detected from the first bytes, not from the name. Knows nothing of columns.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from model.datasets.errors import FileFormatError, MissingFileError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK = 8 * 2**20  # bytes read at once
LONGEST_LINE = 64 * 2**20
_PACKED: dict[bytes, Callable[[BinaryIO], object]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": lambda raw: _zstandard(raw),
}
PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zstd")
_MARKS = (  # UTF-32 first: its mark begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

Share = Callable[[float], None]


def is_blank(file: Path) -> bool:
    """Whether a file is there and has nothing but white space."""
    return file.is_file() and file.stat().st_size < BLOCK and not file.read_bytes().strip()


def text_blocks(file: Path, encoding: str | None = None, share: Share = lambda done: None) -> Iterator[bytes]:
    """Blocks of UTF-8 without byte order mark, each cut after a line end (LF, CR or CRLF).

    A byte order mark decides the encoding; without one it is `encoding`, or UTF-8, which is *not* checked here.
    `share` receives the part of the file that was read, 0 to 1. Raises `DatasetError` if the file is missing,
    cannot be decompressed or decoded, or has a line above 64 MiB.
    """
    rest = b""
    for block in _utf8(file, encoding, share):
        data = rest + block
        cut = data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, -1) + 1
        if len(data) - cut > LONGEST_LINE:
            raise FileFormatError(f"{file.name}: expected lines of at most {LONGEST_LINE} bytes, found a longer one")
        rest = data[cut:]
        if cut:
            yield data[:cut]
    if rest:
        yield rest


def _utf8(file: Path, encoding: str | None, share: Share) -> Iterator[bytes]:
    with _open_unpacked(file) as (stream, raw):
        size = max(os.fstat(raw.fileno()).st_size, 1)
        block = _read(stream, file)
        mark, name = next(((mark, name) for mark, name in _MARKS if block.startswith(mark)), (b"", encoding or "utf-8"))
        decode = _decoder(name, file)
        block = block[len(mark) :]
        while block:
            yield decode(block, False)
            share(raw.tell() / size)
            block = _read(stream, file)
        yield decode(b"", True)


def _decoder(name: str, file: Path) -> Callable[[bytes, bool], bytes]:
    """A function: bytes of a block, and whether it is the last → UTF-8."""
    try:
        codec = codecs.lookup(name)
        decoder = codec.incrementaldecoder()
    except (LookupError, TypeError) as error:
        raise FileFormatError(f"--encoding: expected a text encoding such as utf-16 or latin-1, got {name}") from error
    if codec.name == "utf-8":
        return lambda block, last: block

    def decode(block: bytes, last: bool) -> bytes:
        try:
            return decoder.decode(block, last).encode()
        except UnicodeError as error:
            raise FileFormatError(f"{file.name}: expected text in {name}: {error}") from error

    return decode


@contextmanager
def _open_unpacked(file: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The decompressed stream and the raw file."""
    if not file.is_file():
        raise MissingFileError(f"{file}: expected a file, found nothing")
    with file.open("rb") as raw:
        head = raw.read(8)
        raw.seek(0)
        unpack = next((unpack for magic, unpack in _PACKED.items() if head.startswith(magic)), None)
        yield (raw if unpack is None else cast(BinaryIO, unpack(raw))), raw


def _zstandard(raw: BinaryIO) -> object:
    return zstd.ZstdFile(raw)


def _read(stream: BinaryIO, file: Path) -> bytes:
    try:
        return stream.read(BLOCK)
    except (EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError) as error:
        raise FileFormatError(f"{file.name}: expected a whole packed file: {error}") from error
