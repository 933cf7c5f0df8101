"""Parquet of peers is opened by a child process only, never by the hub.

A signed file may still be hostile: a footer lies about sizes, 32 MB can hold 286 GiB of text, a page can make a reader
write past its buffer. The child has 1 GiB of address space, 20 s of CPU per file and no right to write files; a stall
or any failure ends it. What it gives back are canonical rows, which are then checked like any others, so a child that
was taken over can lie about nothing.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from dianhuan_federation.core import Caps, Code, Refused, RowSchema, Step
from dianhuan_federation.sync._parquet_worker import READY, arrow_schema, read_message, write_message

STALL = 40.0
"""Wall seconds after which a child is killed, however little CPU it took."""


class ParquetSandbox:
    """One child process for many files, started when the first comes and again after each that harmed it.

    Args:
        caps: most bytes of rows.
        stall: wall seconds per file.
        memory: bytes of address space.
        seconds: CPU seconds per file.
    """

    def __init__(
        self, caps: Caps | None = None, *, stall: float = STALL, memory: int = 1024**3, seconds: int = 20
    ) -> None:
        self._caps = caps or Caps()
        self._stall = stall
        self._limits = (memory, seconds)
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> ParquetSandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None:
            _end(child)

    def decode(self, blob: bytes, schema: RowSchema, size: int | None = None) -> bytes:
        """Canonical rows of a Parquet file.

        Args:
            blob: the file.
            schema: of the rows.
            size: bytes that the rows are said to have; by default the cap.

        Raises:
            Refused: `E-BOMB`: the child died, stalled, or found more than allowed; `E-ROWS`: no Parquet of this schema.
        """
        most = self._caps.payload if size is None else min(size, self._caps.payload)
        if len(blob) > self._caps.payload:
            raise _bomb(f"a Parquet file of {len(blob)} bytes")
        with self._lock:
            answer, payload = self._ask(blob, schema, most)
        if answer.get("state") == "ok":
            return payload
        if answer.get("state") == "rows":
            raise Refused(Step.V10, Code.ROWS, f"a Parquet file that does not fit: {str(answer.get('detail'))[:200]}")
        raise _bomb(str(answer.get("detail"))[:200])

    def _ask(self, blob: bytes, schema: RowSchema, most: int) -> tuple[dict[str, Any], bytes]:
        if self._child is None:
            self._child = self._start()
        child = self._child
        assert child.stdin is not None
        assert child.stdout is not None
        timer = threading.Timer(self._stall, child.kill)
        timer.start()
        try:
            question = {"id": schema.id, "version": schema.version, "most": most, "columns": _described(schema)}
            write_message(child.stdin, msgspec.json.encode(question))
            write_message(child.stdin, blob)
            answer = msgspec.json.decode(read_message(child.stdout, 4096), type=dict[str, Any])
            payload = read_message(child.stdout, most)
        except (OSError, EOFError, ValueError, msgspec.DecodeError):
            self.close()
            return {"state": "bomb", "detail": "a Parquet file that its reader did not survive"}, b""
        finally:
            timer.cancel()
        if answer.get("state") == "bomb":
            self.close()
        return answer, payload

    def _start(self) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).with_name("_parquet_worker.py")), *map(str, self._limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"ARROW_DEFAULT_MEMORY_POOL": "system", "LC_ALL": "C.UTF-8"},
            close_fds=True,
        )
        assert child.stdout is not None
        timer = threading.Timer(self._stall, child.kill)
        timer.start()
        try:
            ready = read_message(child.stdout, 64)
        except (OSError, EOFError, ValueError):
            ready = b""
        finally:
            timer.cancel()
        if ready != READY:
            _end(child)
            raise _bomb("the Parquet reader does not start")
        return child


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def encode_parquet(schema: RowSchema, payload: bytes) -> bytes:
    """The same rows as Parquet (zstd), for readers of large tables.

    Args:
        schema: of the rows.
        payload: canonical rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: Sequence[Any] = msgspec.json.Decoder(schema.row_type).decode_lines(payload)
    wanted = arrow_schema([(c.name, c.kind) for c in schema.all_columns])
    columns = [pa.array([getattr(row, f.name) for row in rows], f.type) for f in wanted]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(columns, schema=wanted), sink, compression="zstd", store_schema=False)
    return bytes(sink.getvalue())


def _described(schema: RowSchema) -> list[list[str]]:
    return [[column.name, column.kind] for column in schema.all_columns]


def _bomb(message: str) -> Refused:
    return Refused(Step.V9, Code.BOMB, message, expected="a file that a reader with 1 GiB and 20 s can open")
