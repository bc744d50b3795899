"""Prometheus' text format (version 0.0.4) of what the node says of itself, and whether it is ready. Pure.

The node's answer to {"do": "stats"}, from which pages and metrics are made; all but `workers` may be missing:

    {"node": "relay-1", "version": "0.1.0", "policies": "3f9a1c", "mode": "capture", "started": ms,
     "counters": {...}, "gauges": {...},                                     of the supervisor
     "workers": [{
        "name": "worker-0", "up": true, "healthy": true, "pid": 4711, "deaths": 0, "started": ms,
        "counters": {"accepted": 12,                                         without labels, or with:
                     "delivered": [{"class": "marketing", "value": 9}, ...]},
        "gauges": {"connections": 3}, "egress": {...}                        numbers that go down again
        "state_trouble": ""                                                  why limits cannot be looked up
        "shards": [{"shard": 0, "healthy": true, "schedule": {"in_flight": 4},
                    "queue": {"waiting": 31, "held": 0, "oldest": ms or null,
                              "lanes": [{"class": "marketing", "site": "google", "stream": "news", "waiting": 28}]}}]}]}

Whatever counter is in there becomes `postlane_<name>_total{worker=...}`, whatever gauge `postlane_<name>{worker=...}`;
`egress` and `schedule` keep their word in the name. So a new counter needs no change here. Of lanes, which are
(class, site, stream), metrics add up the streams; the label set is bounded: the largest by name, the rest of each class as
site="other".
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Stats = dict[str, Any]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LANES = 200  # lanes named in metrics: a series each, for as long as Prometheus keeps them
CLASSES = ("transactional", "service", "marketing")
_UNSAFE = re.compile(r"[^a-zA-Z0-9_]")


class Sample(NamedTuple):
    """One line: the metric's full name, its labels, its value."""

    name: str
    labels: Mapping[str, str]
    value: float


HELP: dict[str, tuple[str, str]] = {
    "postlane_up": ("gauge", "1 if the node answered when this page was made."),
    "postlane_info": ("gauge", "Always 1; node, version, version of the policies in force and mode are the labels."),
    "postlane_policies_last_reload_successful": (
        "gauge",
        "0 while the files on disk, as last looked at, are not in force.",
    ),
    "postlane_checks_flagged_total": (
        "counter",
        "Accepted messages that did not pass a check at level flag, by brand and check.",
    ),
    "postlane_returned_mail_total": ("counter", "Mail that came back, by what it is and what became of it."),
    "postlane_returned_heard_total": ("counter", "Reports of mail that this worker sent, by what came of them."),
    "postlane_pages_served_total": ("counter", "Requests for the public pages that were answered."),
    "postlane_pages_shed_total": ("counter", "Requests for the public pages that were refused with 503: too many."),
    "postlane_journal_waiting": ("gauge", "Wishes of recipients that are on disk and not yet in State."),
    "postlane_streams_past_review": ("gauge", "Streams whose review_by is over; their mail still goes."),
    "postlane_pace_per_second": ("gauge", "Messages a second that a source may send to a site that slows it down."),
    "postlane_paces_slowed": ("gauge", "Sources that a site slows down, or that stay away from one, by site."),
    "postlane_paces_aside": ("gauge", "Sources and streams that a back-off rule keeps away from a site."),
    "postlane_pace_orders": ("gauge", "Orders of postlane pace that a worker knows of."),
    "postlane_stream_share": (
        "gauge",
        "Share of a stream's latest mail, as [health] counts it: complaints, hard_bounces, spam_blocks, unsubscribes. On the "
        "node that judges; the 200 streams with the most mail.",
    ),
    "postlane_stream_sent": ("gauge", "Mail of a stream that was delivered or bounced in the time its shares are of."),
    "postlane_stream_standing": (
        "gauge",
        "1 for each stream that is watched, slow, suspended or returning for its health.",
    ),
    "postlane_stream_slowed_to": ("gauge", "Messages an hour at which a stream goes that is slowed for its health."),
    "postlane_suspensions": ("gauge", "Suspensions in force; what they hold is counted in postlane_queue_held."),
    "postlane_webhook_waiting": ("gauge", "Events that wait to be taken by a credential's webhook."),
    "postlane_webhook_oldest_seconds": ("gauge", "Age of the oldest event that waits for a webhook, 0 if none does."),
    "postlane_webhook_failing": ("gauge", "1 while the last try to reach a webhook was in vain."),
    "postlane_webhook_posts_total": (
        "counter",
        "Posts to a webhook that were taken or failed, and events given up, since the web process started.",
    ),
    "postlane_worker_up": ("gauge", "1 if the worker process runs and answers."),
    "postlane_worker_healthy": ("gauge", "1 if the worker can save mail."),
    "postlane_worker_deaths": ("gauge", "How often in a row the worker ended unasked."),
    "postlane_state_up": ("gauge", "0 while limits cannot be looked up: all but transactional mail waits."),
    "postlane_state_sharers": ("gauge", "Workers that share limits, those of other nodes too."),
    "postlane_queue_waiting": ("gauge", "Deliveries waiting in the spool, held ones not counted."),
    "postlane_tls_failures_total": (
        "counter",
        "Sessions without the TLS that a policy of the recipient, or ours, asks for.",
    ),
    "postlane_sts_policies": ("gauge", "Policies of MTA-STS that are kept."),
    "postlane_queue_held": ("gauge", "Deliveries an operator holds back."),
    "postlane_queue_oldest_seconds": ("gauge", "Age of the oldest delivery waiting, 0 if none waits."),
    "postlane_queue_lane_waiting": ("gauge", "Deliveries waiting by class and site; the largest lanes, then 'other'."),
}


def exposition(stats: Stats | None, now: int) -> str:
    """The page; `stats` None: the node gave no answer. `now` in ms."""
    samples = [Sample("postlane_up", {}, float(stats is not None))]
    if stats is not None:
        samples += _samples(stats, now)
    families: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        families[sample.name].append(sample)
    return "".join(_family(name, members) for name, members in families.items())


def _family(name: str, members: list[Sample]) -> str:
    kind, text = HELP.get(name, ("counter" if name.endswith("_total") else "gauge", ""))
    lines = [f"# HELP {name} {text}"] if text else []
    lines.append(f"# TYPE {name} {kind}")
    for sample in members:
        labels = ",".join(f'{_UNSAFE.sub("_", key)}="{_escaped(value)}"' for key, value in sample.labels.items())
        lines.append(f"{name}{{{labels}}} {_number(sample.value)}" if labels else f"{name} {_number(sample.value)}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _samples(stats: Stats, now: int) -> Iterator[Sample]:
    about = {name: str(stats.get(name, "")) for name in ("node", "version", "policies", "mode")}
    yield Sample("postlane_info", about, 1)
    yield from _numbers("", "_total", {}, stats.get("counters"))
    yield from _numbers("", "", {}, stats.get("gauges"))
    for worker in stats.get("workers", ()):
        label = {"worker": str(worker.get("name", ""))}
        yield Sample("postlane_worker_up", label, float(bool(worker.get("up"))))
        yield Sample("postlane_worker_healthy", label, float(bool(worker.get("up") and worker.get("healthy"))))
        yield Sample("postlane_worker_deaths", label, worker.get("deaths", 0))
        yield from _numbers("", "_total", label, worker.get("counters"))
        yield from _numbers("", "", label, worker.get("gauges"))
        yield from _numbers("egress_", "", label, worker.get("egress"))
        for shard in worker.get("shards", ()):
            where = {"shard": str(shard.get("shard", ""))}
            yield from _numbers("schedule_", "", where, shard.get("schedule"))
            queue = shard.get("queue") or {}
            yield Sample("postlane_queue_waiting", where, waiting(queue))
            yield Sample("postlane_queue_held", where, queue.get("held", 0))
            oldest = queue.get("oldest")
            yield Sample("postlane_queue_oldest_seconds", where, max(0, now - oldest) / 1000 if oldest else 0)
    for (mail_class, site), count in _largest(lanes(stats)):
        yield Sample("postlane_queue_lane_waiting", {"class": mail_class, "site": site}, count)


def _numbers(prefix: str, suffix: str, labels: dict[str, str], values: object) -> Iterator[Sample]:
    """Each number of a dict, plain or as a list of {label: ..., "value": number}; what is neither is left out."""
    for name, value in values.items() if isinstance(values, dict) else ():
        full = f"postlane_{prefix}{_UNSAFE.sub('_', str(name))}{suffix}"
        for member in value if isinstance(value, list) else [{"value": value}]:
            if isinstance(member, dict) and isinstance(member.get("value"), int | float):
                own = {key: str(text) for key, text in member.items() if key != "value"}
                yield Sample(full, labels | own, member["value"])


def waiting(queue: Stats) -> int:
    return int(queue.get("waiting", 0))


def lanes(stats: Stats) -> dict[tuple[str, str], int]:
    """Deliveries waiting by (class, site), over all shards."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for worker in stats.get("workers", ()):
        for shard in worker.get("shards", ()):
            for lane in (shard.get("queue") or {}).get("lanes", ()):
                found[str(lane.get("class", "")), str(lane.get("site", ""))] += int(lane.get("waiting", 0))
    return found


def _largest(found: dict[tuple[str, str], int]) -> list[tuple[tuple[str, str], int]]:
    """Each series once, also where a site is really called "other": Prometheus refuses a page with a double."""
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    named = dict(ranked[:LANES])
    for (mail_class, _), count in ranked[LANES:]:
        named[mail_class, "other"] = named.get((mail_class, "other"), 0) + count
    return list(named.items())


def totals(stats: Stats, name: str) -> dict[str, float]:
    """One counter over all workers by class; "" holds what has no class."""
    found: dict[str, float] = defaultdict(float)
    for worker in stats.get("workers", ()):
        for sample in _numbers("", "", {}, {name: (worker.get("counters") or {}).get(name)}):
            found[sample.labels.get("class", "")] += sample.value
    return found


def troubles(stats: Stats | None) -> list[str]:
    """Why the node is not ready for mail; empty if it is."""
    if stats is None:
        return ["the node does not answer"]
    workers = stats.get("workers", ())
    found = [] if workers else ["there is no worker"]
    for worker in workers:
        name = worker.get("name", "a worker")
        if not worker.get("up"):
            found.append(f"{name} is down")
        elif not worker.get("healthy"):
            found.append(f"{name} cannot save mail")
    return found


def notes(stats: Stats | None) -> list[str]:
    """What goes less well than it should on a node that takes mail nevertheless."""
    troubles = dict.fromkeys(worker.get("state_trouble") for worker in (stats or {}).get("workers", ()))
    return [f"limits cannot be looked up ({why}): all but transactional mail waits" for why in troubles if why]
