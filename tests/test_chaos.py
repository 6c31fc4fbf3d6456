"""No fault costs a ranking or an acknowledged event: one or two seconds of each fault, on separate processes. `make
chaos` runs all of them for half an hour.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos import callers, event_damage, others
from chaos.deadlines import deadline_row
from chaos.redis_faults import FAULTS, redis_rows
from chaos.rows import Row
from chaos.slow_copy import slow_copy_row

pytestmark = pytest.mark.anyio


def assert_kept(row: Row, *but: str) -> None:
    """All promises, less those that a busy machine of tests cannot measure."""
    broken = [name for name, kept in row.promises.items() if not kept and name not in but]
    assert not broken, (broken, row.to_json())


async def test_no_fault_of_redis_costs_a_ranking(model_path: Path, tmp_path: Path) -> None:
    rows = [row async for row in redis_rows(model_path, tmp_path, seconds=0.5)]
    assert [row.fault for row in rows] == [f"Redis {fault}" for fault in FAULTS]
    for row in rows:
        assert_kept(row)


async def test_records_that_nobody_holds_keep_to_the_deadline(model_path: Path, tmp_path: Path) -> None:
    assert_kept(await deadline_row(model_path, tmp_path, 3, timeout_ms=100, grace_ms=400.0))


async def test_swapping_models_under_load_fails_no_request(model_path: Path, tmp_path: Path) -> None:
    assert_kept(await others.swap_row(model_path, tmp_path, 2.0), "p99 at most doubled")


async def test_a_model_cut_short_changes_nothing(model_path: Path, tmp_path: Path) -> None:
    assert_kept(await others.bad_model_row(model_path, tmp_path, 2.5))


async def test_a_model_that_is_copied_in_slowly_goes_live_once_it_is_whole(model_path: Path, tmp_path: Path) -> None:
    assert_kept(await slow_copy_row(model_path, tmp_path, 1.0))


async def test_overload_is_refused_and_passes(model_path: Path, tmp_path: Path) -> None:
    timing = ("goodput at least 90 % of peak", "p99 of those admitted within 1 s", "as before afterwards")
    assert_kept(await others.overload_row(model_path, tmp_path, 1.5), *timing)


async def test_hostile_requests_get_problem_documents(model_path: Path, tmp_path: Path) -> None:
    assert_kept(await others.hostile_row(model_path, tmp_path, 1500))


async def test_bodies_of_two_megabytes_do_not_stall_other_callers(model_path: Path, tmp_path: Path) -> None:
    assert_kept(await callers.stall_row(model_path, tmp_path, 0.2), "within 250 ms")


async def test_connections_that_are_half_read_are_closed(model_path: Path, tmp_path: Path) -> None:
    assert_kept(await callers.half_read_row(model_path, tmp_path, 200))


async def test_acknowledged_events_survive_kills(tmp_path: Path) -> None:
    assert_kept(await others.kill_row(tmp_path, 4))


async def test_flipped_bits_cost_only_the_events_that_they_hit(tmp_path: Path) -> None:
    assert_kept(await event_damage.bit_flip_row(tmp_path, 25))


async def test_a_full_disk_costs_no_acknowledged_event(tmp_path: Path) -> None:
    assert_kept(await event_damage.full_disk_row(tmp_path))


async def test_sigterm_drains(model_path: Path, tmp_path: Path) -> None:
    assert_kept(await others.drain_row(model_path, tmp_path))
