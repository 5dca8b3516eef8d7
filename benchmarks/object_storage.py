"""What object storage costs: packing in bytes and CPU a request, and how long a trace id takes among a million rows.

``python benchmarks/object_storage.py [ROWS] [CASSETTES]``. The rows are synthetic: forty
indexes of 25,000 each. Everything is in a folder of temporary files.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.sample_cassettes import body, checkout
from timetracer_otel.cassette import CassetteStore
from timetracer_otel.storage.finding import Question, rows_of
from timetracer_otel.storage.names import folder_of
from timetracer_otel.storage.objects import Objects
from timetracer_otel.storage.rows import columns_of, row_of, write_table
from timetracer_otel.storage.shipping import ship
from timetracer_otel.storage.spool import Spool

_PER_INDEX = 25_000
_WORDS = ["tea", "cup", "order", "small", "green", "paid", "sent", "open", "north", "letter", "glass", "table"]


def timed(do: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of the wall and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    do()
    return (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000


def finding(rows: int, folder: Path) -> None:
    chance = random.Random(1)
    cassette = checkout()
    begin = datetime(2026, 3, 1, tzinfo=timezone.utc)
    base = row_of(cassette, 5, pack="", offset=0, length=900, size_bytes=3400, dictionary=b"d" * 32_768)
    sought: list[str] = []
    table = columns_of([replace(base, route=f"/route/{number % 200}") for number in range(_PER_INDEX)])
    for at in range(0, rows, _PER_INDEX):
        when = begin + timedelta(hours=at // _PER_INDEX)
        place = folder / folder_of("shop", when)
        place.mkdir(parents=True)
        numbers = range(min(_PER_INDEX, rows - at))
        traces = sorted(f"{chance.getrandbits(128):032x}" for _ in numbers)
        columns: dict[str, list[Any]] = {
            "trace_id": traces,
            "session_id": [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in numbers],
            "recorded_at": [when + timedelta(milliseconds=number * 100) for number in numbers],
            "duration_ms": [chance.random() * 1000 for _ in numbers],
            "pack": [f"{place.relative_to(folder)}/_{at:032x}.pack" for _ in numbers],
            "offset": [number * 900 for number in numbers],
        }
        made = table.slice(0, len(numbers))
        for name, values in columns.items():
            column = made.schema.get_field_index(name)
            made = made.set_column(
                column, made.schema.field(column), pa.array(values, made.schema.field(column).type)
            )
        sought.append(chance.choice(traces))
        write_table(made, place / f"{at:032x}.parquet")
    size_mb = sum(each.stat().st_size for each in folder.rglob("*.parquet")) / 1e6
    print(f"{rows} rows in {len(sought)} indexes, {size_mb:.1f} MB: {size_mb * 1e6 / rows:.0f} bytes a row")
    objects = Objects(f"file://{folder}")
    asked = {
        "a trace id": [Question(trace=text) for text in sought[:15]],
        "the first eight digits of an id": [Question(id=text[:8]) for text in sought[:15]],
    }
    for what, questions in asked.items():
        times = sorted(timed(partial(rows_of, objects, question, whole=True)) for question in questions)
        wall, cpu = times[len(times) // 2]
        print(f"{what}: {wall:.0f} ms, {cpu:.0f} ms of the processor (median of {len(times)})")


def packing(cassettes: int, folder: Path) -> None:
    chance = random.Random(2)
    store = CassetteStore(folder / "spool")
    for number in range(cassettes):
        cassette = checkout()
        cassette.session = replace(
            cassette.session,
            id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            trace_id=f"{chance.getrandbits(128):032x}",
        )
        text = " ".join(chance.choice(_WORDS) + str(chance.randrange(10**6)) for _ in range(chance.randrange(5, 60)))
        event = cassette.events[0]
        event.result.body = body(f'{{"id": {number}, "text": "{text}"}}'.encode())
        store.put(cassette)
    spool, objects = Spool(folder / "spool"), Objects(f"file://{folder}/remote")
    done = []
    _, cpu = timed(lambda: done.append(ship(spool, objects)))
    (shipped,) = done
    index = sum(each.size_bytes for each in objects.list() if each.name.endswith(".parquet"))
    print(
        f"{cassettes} cassettes of {shipped.spool_bytes / cassettes:.0f} bytes: "
        f"{shipped.pack_bytes / cassettes:.0f} bytes in the pack, {index / cassettes:.0f} in the index, "
        f"{cpu / cassettes:.2f} ms of the processor each (looking, packing, removing)"
    )


def without_dictionary(cassettes: int, folder: Path) -> None:
    from timetracer_otel.storage import packing as module

    module._LEAST_SAMPLES = 1 << 30  # type: ignore[misc]
    print("without a dictionary: ", end="")
    packing(cassettes, folder)


def main() -> None:
    rows, cassettes = (int(each) for each in [*sys.argv[1:], "1000000", "5000"][:2])
    with tempfile.TemporaryDirectory() as scratch:
        packing(cassettes, Path(scratch, "a"))
        without_dictionary(cassettes, Path(scratch, "b"))
        finding(rows, Path(scratch, "index"))


if __name__ == "__main__":
    main()
