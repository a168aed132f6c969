"""What the benchmarks make of pgbench's log, and that those of whole runs work at all."""

from __future__ import annotations

import pytest

from benchmarks import adoption, archive, django_rivals, foreground, memory
from benchmarks.measuring import Options
from benchmarks.pgbench import Log, failed


def a_log(*latencies: int) -> Log:
    """The log of transactions that took so many milliseconds each."""
    return Log.read(f"0 1 {took * 1000} 0 1700000000 0" for took in latencies)


def test_the_time_runs_from_the_first_begin_to_the_last_end() -> None:
    log = Log.read(
        [
            "1 1 250000 0 1700000002 500000",
            "0 1 750000 0 1700000001 250000",
            "0 2 500000 0 1700000003 125000",
            "1 2 125000 0 1700000002 750000",
        ]
    )
    assert log.end == 1700000003.125
    assert log.seconds == 2.625
    assert log.latencies == (125, 250, 500, 750)


def test_a_transaction_that_failed_is_not_measured() -> None:
    log = Log.read(["0 1 failed 0 1700000009 0", "0 2 2000 0 1700000001 0"])
    assert log.latencies == (2,)
    assert log.end == 1700000001


def test_a_log_without_a_committed_transaction_stops_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="pgbench committed nothing"):
        Log.read(["0 1 failed 0 1700000001 0"])


def test_a_percentile_is_a_latency_that_was_measured() -> None:
    hundred = a_log(*range(100, 0, -1))
    assert [hundred.percentile(percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    three = a_log(30, 10, 20)
    assert [three.percentile(percent) for percent in (33, 34, 50, 99)] == [10, 20, 20, 30]
    assert a_log(7).percentile(50) == 7

    assert hundred.percentile(99.9) == 100
    thousand = a_log(*range(1, 1001))
    assert [thousand.percentile(percent) for percent in (99.8, 99.9)] == [998, 999]


def test_what_reaches_into_a_span_of_time_counts() -> None:
    lines = [f"0 1 1000000 0 170000000{second} 0" for second in (2, 4, 6, 8)]
    log = Log.read(lines, 1700000003.5, 1700000005.5)
    assert log.seconds == 3
    assert log.rate == 2 / 3


def test_a_client_that_gave_up_has_failed() -> None:
    said = "pgbench: error: client 2 script 0 aborted in command 1 query 0: ERROR:  no\n"
    assert failed(said + "number of failed transactions: 3 (0.1%)") == 4
    with pytest.raises(SystemExit, match="did not come to its end"):
        failed("killed")


@pytest.mark.slow
def test_an_application_is_measured_beside_runs(capsys: pytest.CaptureFixture[str]) -> None:
    sides = {side: foreground.SIDES[side] for side in ("full, 2 jobs", "one DELETE")}
    foreground.measure(Options(runs=1, size=0.001), sides, before=0.2)
    printed = capsys.readouterr().out
    assert "target no statement failed: met" in printed
    assert all(side in printed for side in sides)


@pytest.mark.slow
def test_archiving_and_undoing_leave_what_was_there(capsys: pytest.CaptureFixture[str]) -> None:
    """The benchmark stops if the sides do not move the same rows, or do not bring them back."""
    archive.measure(Options(runs=1, size=0.0005))
    printed = capsys.readouterr().out
    assert "events          the runner" in printed
    assert "to undoing by hand" in printed


@pytest.mark.slow
def test_the_memory_of_runs_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    memory.measure(Options(runs=1, size=0.0001))
    assert "1,000 rows" in capsys.readouterr().out


@pytest.mark.slow
def test_policies_leave_what_the_commands_of_django_and_simplejwt_leave(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The benchmark stops if the sides do not leave the same rows."""
    django_rivals.measure(Options(runs=1, size=0.001))
    printed = capsys.readouterr().out
    assert "sessions  run_policy()" in printed
    assert "tokens    run_policy()" in printed
    assert "flushexpiredtokens: memory up to" in printed


@pytest.mark.slow
def test_a_table_that_is_written_to_is_adopted_beside_its_writers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The benchmark stops if an interrupted migrate, and the one after it, leave other indexes."""
    monkeypatch.setattr(adoption, "CONTROL", 0.5)
    adoption.measure(Options(runs=1, size=0.02))
    printed = capsys.readouterr().out
    assert "target no writer waited 200 ms for a lock of ours: met" in printed
    assert all(side in printed for side in adoption.SIDES)
