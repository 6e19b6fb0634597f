"""Azure Monitor's metrics over ARM, with points: what was measured, as queries of its clients ask for it."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from localazure.providers.metric_filters import parse
from localazure.providers.metric_points import Machine
from localazure.serving.counters import Statistics
from localazure.settings import Settings
from tests.localazure.providers.conftest import FakeServing, booted
from tests.localazure.providers.measuring import HOUR, NOON, Measured


def test_requests_are_counted_by_minute_and_averaged_over_longer_steps(measured: Measured) -> None:
    for count in (30, 0, 60, 90, 120, 6):
        measured.answer("blue", count)
        measured.minutes()
    assert measured.points("RequestsPerMinute")[:7] == [30, 0, 60, 90, 120, 6, None], "an idle minute has 0 requests"
    assert measured.points("RequestsPerMinute", f"{HOUR}&interval=PT5M")[:2] == [60, 6]
    assert measured.points("RequestsPerMinute", f"{HOUR}&interval=PT5M&aggregation=Maximum")[:1] == [120]
    assert measured.points("RequestsPerMinute", f"{HOUR}&interval=PT1H&aggregation=total") == [306]
    assert measured.points("RequestsPerMinute", f"{HOUR}&interval=FULL&aggregation=count") == [6]


def test_a_point_has_its_time_and_the_aggregations_that_were_asked_for(measured: Measured) -> None:
    measured.answer("blue", 30)
    measured.minutes()
    (found,) = measured.series("requestsPERminute", f"{HOUR}&aggregation=Total,average,Minimum")
    assert found["metadatavalues"] == []
    assert found["data"][0] == {"timeStamp": "2026-06-05T12:00:00Z", "total": 30, "average": 30, "minimum": 30}
    assert found["data"][-1]["timeStamp"] == "2026-06-05T12:01:00Z", "nothing is said of what is to come"


def test_a_step_begins_where_the_query_begins(measured: Measured) -> None:
    measured.answer("blue", 30)
    measured.minutes(10)
    (found,) = measured.series("RequestsPerMinute", "timespan=2026-06-05T11:58:30Z/2026-06-05T12:08:00Z&interval=PT5M")
    assert [each["timeStamp"][11:16] for each in found["data"]] == ["11:58", "12:03"]
    assert [each["average"] for each in found["data"]] == [10, 0], "three of the first five minutes are known"


def test_a_query_without_a_timespan_is_about_the_last_hour(measured: Measured) -> None:
    measured.answer("blue", 30)
    measured.minutes(90)
    assert measured.points("RequestsPerMinute", "") == [0] * 60
    measured.answer("blue", 7)
    measured.minutes()
    assert measured.points("RequestsPerMinute", "") == [0] * 59 + [7]
    assert measured.points("RequestsPerMinute", "timespan=PT2M") == [0, 7]


def test_requests_are_split_by_deployment_and_by_how_they_were_answered(measured: Measured) -> None:
    measured.answer("blue", 90)
    measured.answer("blue", 4, 500)
    measured.answer("green", 10)
    measured.minutes()
    everything = f"{HOUR}&$filter=deployment eq '*' and statusCode eq '*' and modelStatusCode eq '*'"
    split = {
        tuple(each["value"] for each in found["metadatavalues"]): found["data"][0]["average"]
        for found in measured.series("RequestsPerMinute", everything)
    }
    assert split == {("blue", "200", "200"): 90, ("blue", "424", "500"): 4, ("green", "200", "200"): 10}
    assert measured.points("RequestsPerMinute", f"{HOUR}&$filter=DEPLOYMENT eq 'Green'")[0] == 10
    assert measured.points("RequestsPerMinute", f"{HOUR}&$filter=statusCodeClass eq '4xx'")[0] == 4
    assert measured.points("RequestsPerMinute")[0] == 104
    named = measured.series("RequestsPerMinute", f"{HOUR}&$filter=deployment eq 'blue' or deployment eq 'green'")
    assert [each["metadatavalues"][0]["value"] for each in named] == ["blue", "green"]
    assert named[0]["metadatavalues"][0]["name"]["value"] == "deployment"
    assert measured.series("RequestsPerMinute", f"{HOUR}&$filter=deployment eq 'purple'") == []


def test_series_are_put_in_order_and_cut(measured: Measured) -> None:
    for name, count in (("blue", 10), ("green", 90)):
        measured.answer(name, count)
    measured.minutes()
    split = f"{HOUR}&$filter=deployment eq '*'"

    def order(parameters: str) -> list[str]:
        found = measured.series("RequestsPerMinute", f"{split}&{parameters}")
        return [each["metadatavalues"][0]["value"] for each in found]

    assert [order("orderby=average desc"), order("orderby=sum asc")] == [["green", "blue"], ["blue", "green"]]
    assert order("orderby=average desc&top=1") == ["green"]
    (first, _) = measured.series("RequestsPerMinute", f"{split}&resultType=metadata")
    assert set(first) == {"metadatavalues"}
    for wrong in ("top=none", "top=0", "orderby=luck"):
        assert measured.ask("RequestsPerMinute", f"{split}&{wrong}").status_code == 400


def test_latency_is_that_of_all_requests_of_a_step(measured: Measured) -> None:
    for took, count in ((10.0, 90), (200.0, 9), (1000.0, 1)):
        measured.answer("blue", count, took=took)
    measured.minutes()
    measured.minutes()
    measured.answer("blue", 80, took=400.0)
    measured.minutes()
    assert measured.points("RequestLatency")[:3] == [37, None, 400], "a minute without requests has no latency"
    expected = {50: 10, 90: 10, 95: 200, 99: 200}
    for share, value in expected.items():
        assert measured.points(f"RequestLatency_P{share}")[0] == value
        assert measured.points(f"RequestLatency_P{share}", deployment="blue")[0] == value
    assert measured.points("RequestLatency_P50", f"{HOUR}&interval=PT5M")[0] == 10, "of both minutes' requests"
    (slowest,) = measured.points("RequestLatency", f"{HOUR}&interval=PT1H&aggregation=maximum")
    assert slowest == 1000


def test_mirrored_requests_are_a_deployments_own_and_none_of_its_endpoint(measured: Measured) -> None:
    measured.answer("blue", 100)
    measured.answer("green", 40, took=99.0, kind="internal")
    measured.minutes()
    assert measured.points("RequestsPerMinute")[0] == 100
    assert measured.points("RequestLatency")[0] == 10
    assert measured.points("RequestsPerMinute", deployment="green")[0] == 40
    assert measured.points("RequestLatency_P50", deployment="green")[0] == 99
    assert measured.points("RequestsPerMinute", f"{HOUR}&$filter=envoy_response_code eq '200'", "green")[0] == 40


def test_processor_and_memory_are_percent_of_what_an_instance_has(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    measured.sample()
    measured.work(1, cores=1.0)
    measured.work(2, cores=6.0)
    measured.now += timedelta(minutes=1)
    measured.sample()
    # A Standard_F4s_v2 has 4 cores and 8 GB.
    second = "timespan=2026-06-05T12:01:00Z/2026-06-05T12:02:00Z"
    assert measured.points("CpuUtilizationPercentage", second, "blue") == [25]
    assert measured.points("CpuUtilizationPercentage", second, "green") == [100], "no more than there is"
    memory = measured.points("CpuMemoryUtilizationPercentage", second, "blue")[0]
    assert memory == pytest.approx(100 * 2**30 / Machine.of("Standard_F4s_v2").memory)
    assert measured.points("CpuUtilizationPercentage", f"{second}&$filter=instanceId eq '1'", "blue") == [25]
    assert measured.series("CpuUtilizationPercentage", f"{second}&$filter=instanceId eq '5'", "blue") == []


def test_an_instance_has_no_more_than_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert Machine.of("Standard_F4s_v2").cores == 2
    assert Machine.of("Standard_DS1_v2").cores == 1
    assert Machine.of("Standard_Unheard_Of") == Machine.of("Standard_M416s_v2")
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert Machine.of("standard_f4S_v2").cores == 4


def test_capacity_bytes_and_connections_are_measured(measured: Measured) -> None:
    measured.counters |= {
        "cluster.online/blue.upstream_cx_rx_bytes_total": 6000,
        "http.scoring.downstream_cx_total": 120,
    }
    measured.minutes()
    assert measured.points("DeploymentCapacity", deployment="green")[0] == 3
    assert measured.points("NetworkBytes")[0] == 100
    assert measured.points("NewConnectionsPerSecond")[0] == 2
    assert measured.points("ConnectionsActive")[0] == 4


def test_what_a_laptop_does_not_have_is_answered_without_points(measured: Measured) -> None:
    measured.minutes(3)
    for name in ("DiskUtilization", "GpuUtilizationPercentage", "DataCollectionEventsPerMinute"):
        assert measured.series(name, deployment="blue") == []


def test_no_timespan_is_too_long_to_be_answered(measured: Measured) -> None:
    measured.answer("blue", 5)
    measured.minutes(2)
    known = {
        "0001-01-01T00:00:00Z/9999-12-31T23:59:59Z": True,
        "0001-01-01/0001-01-02": False,
        "9999-12-30/9999-12-31T23:59:59": False,
        "2026-06-05T12:00:00Z/2026-06-05T12:00:01Z": True,
    }
    for timespan, some in known.items():
        for interval in ("PT1M", "P1D", "FULL"):
            series = measured.series("RequestsPerMinute", f"timespan={timespan}&interval={interval}")
            assert bool(series) == some
            assert all(len(each["data"]) <= 24 * 60 + 1 for each in series)


def test_what_was_measured_outlives_a_restart(tmp_path: Path, files: None) -> None:
    clock = [NOON]
    settings = Settings(autoscale_seconds=86_400)
    with booted(tmp_path / "home", FakeServing(), settings, lambda: clock[0]) as cloud:
        cloud.prepare()
        cloud.put(cloud.endpoint(), cloud.endpoint_body())
        cloud.put(f"{cloud.endpoint()}/deployments/blue", cloud.deployment_body())
        cloud.serving.statistics = Statistics({"cluster.online/blue.external.upstream_rq_200": 5})
        cloud.azure.meter.sample()
    clock[0] += timedelta(minutes=3)
    with booted(tmp_path / "home", FakeServing(), settings, lambda: clock[0]) as cloud:
        again = Measured(cloud, clock[0])
        assert again.points("RequestsPerMinute", f"{HOUR}&aggregation=total")[0] == 5


# Filters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("", ["a1 b1", "a1 b2", "a2 b1"]),
        ("A eq 'a1' and B eq '*'", ["a1 b1", "a1 b2"]),
        ("A eq 'a1' and (B eq 'b1' or B eq 'b2')", ["a1 b1", "a1 b2"]),
        ("(A eq 'a2' or A eq 'A1') and B ne 'b2'", ["a1 b1", "a2 b1"]),
        ("A sw 'a' and B SW 'B1'", ["a1 b1", "a2 b1"]),
        ("A eq 'it''s'", []),
    ],
)
def test_a_filter_selects(text: str, matching: list[str]) -> None:
    found = parse(text)
    assert found is not None
    rows = [dict(zip("AB", each.split(), strict=True)) for each in ("a1 b1", "a1 b2", "a2 b1")]
    assert [" ".join(each.values()) for each in rows if found.selects(each)] == matching
    assert found.dimensions == list(dict.fromkeys(re.findall(r"[AB](?= \w+ ')", text)))


@pytest.mark.parametrize(
    "text",
    [
        "blue",
        "A eq blue",
        "A eq 'a' and",
        "and A eq 'a'",
        "A eq 'a' B eq 'b'",
        "A eq 'a' or B eq 'b'",
        "(A eq 'a'",
        "A eq 'a')",
        "()",
        "A like 'a'",
        "A eq 'a' and (B eq 'b' or)",
        "'",
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    assert parse(text) is None
