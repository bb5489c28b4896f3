"""What files mean, kept on disk: a cold start reads none of them, and damage does no harm."""

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.agent.blobs import BlobCache
from reconciler.compile.host import compile_all
from reconciler.manifest.schema import compile_schemas
from reconciler.model.follow import Step, follow
from reconciler.model.part import read_part
from reconciler.model.part_serial import dump_part, load_part
from reconciler.source.package import schemas
from tests.model.histories import History, snapshot

VALIDATORS = compile_schemas(schemas())


def states(step: Step) -> object:
    assert step.topology is not None
    return compile_all(step.topology)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_cold_start_with_the_cache_reads_no_file(tmp_path: Path) -> None:
    first = snapshot("1", History(1).files)
    before = follow(first, VALIDATORS, None, BlobCache(tmp_path))

    def fetch(blob: str) -> bytes:
        raise AssertionError(blob)

    again = follow(replace(first, fetch=fetch), VALIDATORS, None, BlobCache(tmp_path))
    assert states(again) == states(before)


@pytest.mark.parametrize("seed", range(12))
def test_what_comes_back_is_what_was_kept(seed: int) -> None:
    for each in History(seed).snapshots(6):
        for file in each.files:
            part = read_part(each.bytes_of(file), False, VALIDATORS)
            again = load_part(dump_part(part))
            assert dump_part(again) == dump_part(part)
            assert again.found("x") == part.found("x")
            assert list(again.columns.documents) == list(part.columns.documents)


def test_damaged_file_is_read_from_the_repository(tmp_path: Path) -> None:
    first = snapshot("1", History(2).files)
    before = follow(first, VALIDATORS, None, BlobCache(tmp_path))
    damaged = files(tmp_path)
    for number, path in enumerate(damaged):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] if number % 2 else data[:-3] + b"abc")
    assert damaged
    assert states(follow(first, VALIDATORS, None, BlobCache(tmp_path))) == states(before)


def test_folder_stays_within_its_limit(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, limit=20_000)
    (tmp_path / "other-release" / "aa").mkdir(parents=True)
    for each in History(3).snapshots(12):
        follow(each, VALIDATORS, None, cache)
    found = files(tmp_path)
    assert found
    assert sum(path.stat().st_size for path in found) <= 20_000
    assert not (tmp_path / "other-release").exists()


def test_folder_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    first = snapshot("1", History(1).files)
    assert states(follow(first, VALIDATORS, None, BlobCache(tmp_path / "file" / "cache")))
