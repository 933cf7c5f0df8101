"""The child that opens Parquet files of peers; see `_parquet`. It is run as a script and imports nothing of the hub.

Messages on stdin and stdout are their length as 8 bytes, then their bytes: a question and a file in, an answer and
canonical rows out.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

READY = b"ready"
BATCH = 4096
_MOST_IN = 64 * 1024 * 1024


def write_message(stream: IO[bytes], data: bytes) -> None:
    """Send a message."""
    stream.write(len(data).to_bytes(8, "big"))
    stream.write(data)
    stream.flush()


def read_message(stream: IO[bytes], most: int) -> bytes:
    """Take a message.

    Raises:
        EOFError: the other side is gone.
        ValueError: it announces more than `most` bytes.
    """
    head = stream.read(8)
    if len(head) != 8:
        raise EOFError
    size = int.from_bytes(head, "big")
    if size > most:
        raise ValueError(f"a message of {size} bytes")
    data = stream.read(size)
    if len(data) != size:
        raise EOFError
    return data


def arrow_schema(columns: Sequence[tuple[str, str]]) -> pa.Schema:
    """Arrow types of row columns by their kinds; decimals and codes are texts, as in canonical rows."""
    import pyarrow as pa

    types = {"integer": pa.int64(), "day": pa.date32(), "instant": pa.timestamp("us", tz="UTC"), "flag": pa.bool_()}
    return pa.schema([pa.field(name, types.get(kind, pa.string())) for name, kind in columns])


def main() -> None:
    """Answer until stdin ends."""
    memory, seconds = int(sys.argv[1]), int(sys.argv[2])
    import msgspec
    import pyarrow as pa
    import pyarrow.parquet  # loaded before the limits, so that they are for files alone

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    encoder = msgspec.json.Encoder()
    write_message(sys.stdout.buffer, READY)
    while True:
        try:
            question = json.loads(read_message(sys.stdin.buffer, 1 << 20))
            blob = read_message(sys.stdin.buffer, _MOST_IN)
        except EOFError:
            return
        used = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, hard))
        state, payload = _decode(blob, question, encoder)
        write_message(sys.stdout.buffer, json.dumps(state).encode())
        write_message(sys.stdout.buffer, payload)


def _decode(blob: bytes, question: dict[str, Any], encoder: Any) -> tuple[dict[str, str], bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts: list[bytes] = []
    left = int(question["most"])
    try:
        wanted = arrow_schema([(name, kind) for name, kind in question["columns"]])
        file = pq.ParquetFile(pa.BufferReader(blob))
        found = [(f.name, f.type) for f in file.schema_arrow]
        if found != [(f.name, f.type) for f in wanted]:
            return {"state": "rows", "detail": f"columns {found[:20]}"}, b""
        for batch in file.iter_batches(batch_size=BATCH, use_threads=False):
            lines = encoder.encode_lines(batch.to_pylist())
            left -= len(lines)
            if left < 0:
                return {"state": "bomb", "detail": f"more than {question['most']} bytes of rows"}, b""
            parts.append(lines)
    except MemoryError:
        return {"state": "bomb", "detail": "out of memory"}, b""
    except Exception as error:  # whatever a crafted file makes of its reader
        kind = "bomb" if "alloc" in str(error).lower() else "rows"
        return {"state": kind, "detail": f"{type(error).__name__}: {error}"[:300]}, b""
    return {"state": "ok"}, b"".join(parts)


if __name__ == "__main__":
    main()
