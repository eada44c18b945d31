"""The bench of tables: what it writes is what the import accepts, in every form."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.tables.run import MAPPING, long_rows, sample_rows, write
from echat_eval.analysis.frames import read_table as read_long_table
from echat_eval.importers.draft import ImportOptions
from echat_eval.importers.mapping import read_mapping
from echat_eval.importers.result import check_rows
from echat_eval.importers.table import read_table


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_rows_of_the_bench_are_accepted(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "m.yaml").write_text(MAPPING)
    options = ImportOptions(mapping=read_mapping(str(tmp_path / "m.yaml")), needs_audio=False)
    table = write(tmp_path / f"x{suffix}", sample_rows(60))
    done = check_rows(read_table(table, options), options.cues(()))
    assert (done.rows, done.refused, done.speakers) == (60, 0, 60)
    assert set(done.aliases["emotion"]) <= {"raging = anger", "Angry = anger", "JOY = happy", "bored = other"}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_long_tables_of_the_bench_are_read(tmp_path: Path, suffix: str) -> None:
    assert len(read_long_table(write(tmp_path / f"x{suffix}", long_rows(40)))) == 40
