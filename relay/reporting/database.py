"""DuckDB, opened for one question and closed behind it: its memory goes back, and what did not fit into it is removed.

It is imported with the first question: that takes a tenth of a second and some 40 MB, and most processes never ask.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Database = Any  # a duckdb.DuckDBPyConnection, which has no types

THREADS = 2


@contextmanager
def opened(memory: str, threads: int = THREADS) -> Iterator[Database]:
    """`memory`: as DuckDB has it, "128MB"; what a question needs beyond it goes to temporary files."""
    import duckdb  # noqa: PLC0415 - see above

    with tempfile.TemporaryDirectory(prefix="postlane-") as scratch:
        settings = {
            "threads": threads,
            "memory_limit": memory,
            "temp_directory": scratch,
            "preserve_insertion_order": False,
        }
        with duckdb.connect(config=settings) as database:
            database.execute("SET enable_progress_bar = false")  # it would stand in the middle of what a command prints
            yield database
