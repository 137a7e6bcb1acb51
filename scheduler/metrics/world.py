"""The figures as they are at a scrape."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from scheduler.clock import Clock
from scheduler.dispatch.leases import Leases
from scheduler.domain.fleet import NodeLifecycle
from scheduler.domain.job import FINAL_STATES, AttemptState, JobState
from scheduler.domain.reason import ReasonCode
from scheduler.metrics.catalogue import BY_NAME, Kind
from scheduler.metrics.tally import ORIGIN, WEST, Tally
from scheduler.state.changes import NodeChanges
from scheduler.state.fleet import Fleet

W_PER_KW = 1000.0

Rows = Iterable[tuple[tuple[str, ...], float]]


class WorldCollector(Collector):
    """Looks at the fleet, which is at hand, and at the tally. Called on the event loop: nothing
    changes meanwhile, and nothing is asked of the database."""

    def __init__(
        self,
        *,
        tally: Tally,
        fleet: Fleet,
        leases: Leases,
        clock: Clock,
        waiting: Callable[[], Mapping[ReasonCode, int]],
        planner_bytes: Callable[[], int | None],
    ) -> None:
        """``waiting`` counts pending jobs by reason, as far as rounds have told one."""
        self._tally = tally
        self._fleet = fleet
        self._leases = leases
        self._clock = clock
        self._waiting = waiting
        self._planner_bytes = planner_bytes
        self._changes = NodeChanges()
        self._agents: Counter[tuple[str, NodeLifecycle]] = Counter()
        self._gpus: Counter[str] = Counter()

    def collect(self) -> Iterator[Family]:
        """All families."""
        yield from self._rounds()
        yield from self._jobs()
        yield from self._runs()
        yield from self._sites()
        yield from self._nodes_and_leases()
        memory = self._planner_bytes()
        yield _family("westward_planner_resident_memory_bytes", [((), memory)] if memory else [])

    def _rounds(self) -> Iterator[Family]:
        tally = self._tally
        kinds = [((k,), float(tally.rounds[k])) for k in ("whole", "quick")]
        yield _family("westward_rounds_total", kinds)
        yield _family("westward_round_stage_seconds_total", _by_label(tally.stage_s))
        yield _family("westward_round_interruptions_total", _by_label(tally.interruptions))
        for name, value in (
            ("westward_rounds_failed_total", tally.rounds_failed),
            ("westward_round_gap_ratio", tally.gap),
            ("westward_round_placed_total", tally.placed_jobs),
            ("westward_round_starts_moved_total", tally.moved),
            ("westward_round_starts_kept_total", tally.kept),
        ):
            yield _family(name, [((), value)])

    def _jobs(self) -> Iterator[Family]:
        tally = self._tally
        going_on = {s.value: tally.jobs[s] for s in JobState if s not in FINAL_STATES}
        yield _family("westward_jobs", _by_label(going_on))
        waiting = Counter({code.value: count for code, count in self._waiting().items()})
        not_seen = tally.jobs[JobState.PENDING] - waiting.total()
        waiting[ReasonCode.NOT_PLANNED_YET.value] += max(not_seen, 0)
        yield _family("westward_jobs_pending", _by_label(waiting))
        ended = {s.value: tally.jobs_ended[s] for s in sorted(FINAL_STATES)}
        yield _family("westward_jobs_ended_total", _by_label(ended))
        yield _family("westward_job_events_total", _by_label(tally.events))
        live = {s.value: tally.attempts[s] for s in AttemptState if not s.final}
        yield _family("westward_attempts", _by_label(live))
        attempts = [((s.value, code), n) for (s, code), n in sorted(tally.attempts_ended.items())]
        yield _family("westward_attempts_ended_total", attempts)

    def _runs(self) -> Iterator[Family]:
        for name, counter in (
            ("westward_run_cost_yuan_total", self._tally.yuan),
            ("westward_run_carbon_grams_total", self._tally.carbon_g),
            ("westward_run_energy_joules_total", self._tally.energy_j),
        ):
            yield _family(name, [((where,), counter[where]) for where in (WEST, ORIGIN)])

    def _sites(self) -> Iterator[Family]:
        now, sites = self._clock.now(), self._fleet.sites()
        it_watts = self._tally.it_watts()
        load = {c: it_watts.get(c, 0.0) * site.pue.at(now) for c, site in sites.items()}
        green = {c: site.green_supply_kw.at(now) * W_PER_KW for c, site in sites.items()}
        caps = {
            c: s.power_cap_kw * W_PER_KW for c, s in sites.items() if s.power_cap_kw is not None
        }
        prices = {c: site.price_yuan_per_kwh.at(now) for c, site in sites.items()}
        for name, by_cluster in (
            ("westward_cluster_price_yuan_per_kilowatthour", prices),
            ("westward_cluster_green_supply_watts", green),
            ("westward_cluster_green_allocated_watts", {c: min(load[c], green[c]) for c in sites}),
            ("westward_cluster_load_watts", load),
            ("westward_cluster_power_cap_watts", caps),
        ):
            yield _family(name, _by_label(by_cluster))
        rtt = (
            ((cluster, region), way.p95_ms / 1000)
            for cluster, site in sites.items()
            for region, way in sorted(site.rtt.items())
        )
        yield _family("westward_rtt_p95_seconds", rtt)

    def _nodes_and_leases(self) -> Iterator[Family]:
        self._count_nodes()
        contacts = self._fleet.contacts()
        up = {c: float(why is not None) for c, why in contacts.items()}
        serving = {c: float(why == "") for c, why in contacts.items()}
        yield _family("westward_cluster_up", _by_label(up))
        yield _family("westward_cluster_serving", _by_label(serving))
        leases = {c: n for c, n in self._tally.leases.items() if n or c in contacts}
        yield _family("westward_cluster_leases", _by_label(leases))
        left_s = {c: max(self._leases.expires_in_s(c), 0.0) for c, n in leases.items() if n}
        yield _family("westward_cluster_lease_seconds", _by_label(left_s))
        clusters = sorted({cluster for cluster, _ in self._agents})
        busy = {c: self._tally.busy_gpus[c] for c in clusters}
        yield _family(
            "westward_cluster_accelerators", _by_label({c: self._gpus[c] for c in clusters})
        )
        yield _family("westward_cluster_accelerators_busy", _by_label(busy))
        agents = (
            ((cluster, lifecycle.value), self._agents[cluster, lifecycle])
            for cluster in clusters
            for lifecycle in NodeLifecycle
            # Nodes that have told nothing yet are not in the fleet.
            if lifecycle is not NodeLifecycle.JOINING
        )
        yield _family("westward_agents", agents)

    def _count_nodes(self) -> None:
        """Counts what has changed since the last scrape."""
        for before, now in self._changes.look(self._fleet.nodes()):
            for node, sign in ((before, -1), (now, 1)):
                if node is None:
                    continue
                self._agents[node.cluster, node.lifecycle] += sign
                if node.lifecycle is not NodeLifecycle.LOST:
                    self._gpus[node.cluster] += sign * node.gpus


def _by_label(values: Mapping[str, float]) -> Rows:
    return (((label,), value) for label, value in sorted(values.items()))


def _family(name: str, rows: Rows) -> Family:
    metric = BY_NAME[name]
    make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = make(name, metric.told, labels=metric.labels)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family
