"""One fixed scene in messages of the wire: three hubs, a handful of jobs."""

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from westward.v1 import job_pb2, node_pb2, placement_pb2, timeline_pb2

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)


def stamp(minutes: float) -> Timestamp:
    """So many minutes after the scene's now."""
    at = Timestamp()
    at.FromDatetime(NOW + timedelta(minutes=minutes))
    return at


def span(begin: float, end: float) -> timeline_pb2.Span:
    """From so many minutes after the scene's now until so many."""
    return timeline_pb2.Span(start_at=stamp(begin), end_at=stamp(end))


def reason(code: str, message: str) -> job_pb2.Reason:
    return job_pb2.Reason(code=code, message=message)


def spec(name: str, region: str = "shanghai", **more: object) -> job_pb2.JobSpec:
    made = job_pb2.JobSpec(
        name=name,
        tenant="vision",
        region=region,
        command=job_pb2.Command(argv=["python", "train.py", "--epochs", "3"]),
        workers=1,
        per_worker=job_pb2.WorkerShape(gpus=1, cpus=4, memory_gb=16),
        expected_duration_s=5400,
        max_attempts=3,
    )
    made.MergeFrom(job_pb2.JobSpec(**more))  # type: ignore[arg-type]
    return made


def attempt(job_id: str, number: int, **more: object) -> job_pb2.Attempt:
    made = job_pb2.Attempt(
        id=f"{job_id}-{number}",
        number=number,
        epoch=number,
        state=job_pb2.ATTEMPT_STATE_RUNNING,
        cluster="qingyang",
        accelerator="A800",
        workers=[job_pb2.Worker(rank=0, node_id="qy-1"), job_pb2.Worker(rank=1, node_id="qy-2")],
        assigned_at=stamp(1),
        started_at=stamp(1.1),
    )
    made.MergeFrom(job_pb2.Attempt(**more))  # type: ignore[arg-type]
    return made


def jobs() -> list[job_pb2.Job]:
    """Newest first: one of each state that people meet."""
    return [_running(), _deferred(), _impossible(), _failed(), _succeeded()]


def _job(job_id: str, **more: object) -> job_pb2.Job:
    made = job_pb2.Job(id=job_id, version=3, created_at=stamp(0), updated_at=stamp(2))
    made.MergeFrom(job_pb2.Job(**more))  # type: ignore[arg-type]
    return made


def _running() -> job_pb2.Job:
    return _job(
        "1k7dq3m8ta05",
        spec=spec(
            "llama-sft",
            workers=2,
            per_worker=job_pb2.WorkerShape(gpus=8, cpus=32, memory_gb=256),
            accelerators=[
                job_pb2.AcceleratorOption(model="A800", relative_speed=1),
                job_pb2.AcceleratorOption(model="H800", relative_speed=1.8),
            ],
            max_rtt_ms=20,
            min_green_share=0.5,
            data=[job_pb2.DataInput(size_gb=120, location="shanghai")],
        ),
        state=job_pb2.JOB_STATE_RUNNING,
        reason=reason("OK", "runs on 2 nodes"),
        attempts=[attempt("1k7dq3m8ta05", 1, used_kwh=12.345, estimated_kwh=0.5)],
    )


def _deferred() -> job_pb2.Job:
    return _job(
        "1k7dq3m8t9zz",
        spec=spec("nightly-embeddings", "beijing", max_delay_s=21600, interruptible=True),
        state=job_pb2.JOB_STATE_PENDING,
        reason=reason(
            "WAITING_FOR_CHEAPER",
            "starts 12:00 at 0.199 yuan/kWh instead of now at 0.597; saves 3.1 yuan",
        ),
        planned_cluster="zhongwei",
        planned_start_at=stamp(120),
    )


def _impossible() -> job_pb2.Job:
    return _job(
        "1k7dq3m8t9y2",
        spec=spec("tick-quotes", "shenzhen", max_rtt_ms=4),
        state=job_pb2.JOB_STATE_PENDING,
        reason=reason("LATENCY", "no cluster is within 4 ms of shenzhen; the nearest has 14.8 ms"),
    )


def _failed() -> job_pb2.Job:
    failed = {
        "state": job_pb2.ATTEMPT_STATE_FAILED,
        "ended_at": stamp(1.5),
        "exit_code": 3,
        "reason": reason("NONZERO_EXIT", "rank 1 ended with exit code 3"),
    }
    return _job(
        "1k7dq3m8t8aa",
        spec=spec("flaky-eval"),
        state=job_pb2.JOB_STATE_FAILED,
        reason=reason("NONZERO_EXIT", "attempt 2 of 2 failed: exit code 3; no attempts left"),
        attempts=[attempt("1k7dq3m8t8aa", n, **failed) for n in (1, 2)],
    )


def _succeeded() -> job_pb2.Job:
    return _job(
        "1k7dq3m8t7aa",
        spec=spec("batch-inference", "beijing"),
        state=job_pb2.JOB_STATE_SUCCEEDED,
        reason=reason("OK", "all workers ended with exit code 0"),
        attempts=[
            attempt(
                "1k7dq3m8t7aa",
                1,
                state=job_pb2.ATTEMPT_STATE_SUCCEEDED,
                ended_at=stamp(9),
                exit_code=0,
                cluster="horinger",
            )
        ],
    )


def chunks() -> list[job_pb2.Job]:
    """An array of 1500 tasks in two chunks, newest first: one waits, one has a failed task."""

    def chunk(job_id: str, first: int, own: int, **more: object) -> job_pb2.Job:
        array = job_pb2.ArraySpec(tasks=own, chunk_tasks=1000, task_attempts=2, first_task=first)
        return _job(job_id, spec=spec("sweep", array=array), array_id="a1k7dq3m8tb0", **more)

    return [
        chunk(
            "j1k7dq3m8tb1", 1000, 500, state=job_pb2.JOB_STATE_PENDING,
            reason=reason("CAPACITY", "all A800 are taken until 12:00"),
            tasks=job_pb2.TaskCounts(total=500),
        ),
        chunk(
            "j1k7dq3m8tb0", 0, 1000, state=job_pb2.JOB_STATE_RUNNING,
            reason=reason("OK", "runs on 2 nodes"), attempts=[attempt("j1k7dq3m8tb0", 1)],
            tasks=job_pb2.TaskCounts(total=1000, running=2, succeeded=997, failed=1),
        ),
    ]  # fmt: skip


def tasks() -> list[job_pb2.Task]:
    """One task of each state."""
    tried = {"tries": 1, "attempt_id": "j1k7dq3m8tb0-1", "node_id": "qy-1"}
    made = [
        job_pb2.Task(index=17, state=job_pb2.TASK_STATE_FAILED, exit_code=3, ended_at=stamp(1.2)),
        job_pb2.Task(index=18, state=job_pb2.TASK_STATE_SUCCEEDED, exit_code=0, ended_at=stamp(2)),
        job_pb2.Task(index=998, state=job_pb2.TASK_STATE_RUNNING),
    ]
    for task in made:
        task.MergeFrom(job_pb2.Task(started_at=stamp(1.1), **tried))  # type: ignore[arg-type]
    made[0].tries = 2
    return [*made, job_pb2.Task(index=1000, state=job_pb2.TASK_STATE_PENDING)]


def events(job_id: str) -> list[job_pb2.JobEvent]:
    """Submitted, assigned, started."""
    pending, assigned, running = (
        job_pb2.JOB_STATE_PENDING,
        job_pb2.JOB_STATE_ASSIGNED,
        job_pb2.JOB_STATE_RUNNING,
    )
    steps = [
        (0.0, "user", "SUBMIT", pending, pending, reason("NOT_PLANNED_YET", "no round yet")),
        (1.0, "planner", "ASSIGN", pending, assigned, reason("CHOSEN", "cheapest within 20 ms")),
        (1.1, "agent/qy-1", "START", assigned, running, reason("OK", "runs on 2 nodes")),
    ]
    return [
        job_pb2.JobEvent(
            id=number,
            job_id=job_id,
            at=stamp(minutes),
            actor=actor,
            event=event,
            from_state=before,
            to_state=after,
            reason=why,
        )
        for number, (minutes, actor, event, before, after, why) in enumerate(steps, 1)
    ]


def explanation(job_id: str) -> placement_pb2.Explanation:
    """Qingyang wins; Zhongwei is dearer, Horinger too far, and one pool too slow."""
    return placement_pb2.Explanation(
        job_id=job_id,
        round_id=41,
        decided_at=stamp(1),
        outcome=placement_pb2.OUTCOME_PLACED,
        reason=reason(
            "CHOSEN", "qingyang A800 now: 37.21 yuan, 2.90 less than the next best, zhongwei A800"
        ),
        candidates=[
            _candidate(
                "zhongwei",
                12.4,
                0.61,
                (29.8, 0.0, 8.1, 2.21),
                reason("DEARER", "2.90 yuan dearer than qingyang"),
            ),
            _candidate(
                "qingyang",
                13.1,
                0.74,
                (27.6, 0.0, 7.4, 2.21),
                reason("CHOSEN", "lowest total"),
                chosen=True,
            ),
            _ruled_out("horinger", "H800", 31.2, "LATENCY", "31.2 ms > 20 ms to shanghai"),
            _ruled_out("guian", "A800", None, "LATENCY_UNKNOWN", "never measured to shanghai"),
        ],
        binding=[
            placement_pb2.BindingConstraint(
                name="capacity/qingyang/A800/2026-11-20T12:00",
                shadow_price_yuan=3.1,
                message="qingyang/A800 is full from 12:00 CST to 14:00 CST (capacity); one more "
                "accelerator there would be worth about 3.1 yuan/h.",
            )
        ],
        saving=placement_pb2.Saving(
            origin_yuan=63.0,
            yuan=27.6,
            origin_carbon_kg=51.2,
            carbon_kg=11.9,
            origin_kwh=90.0,
            kwh=74.0,
        ),
        round_objective_yuan=1218.4,
        round_bound_yuan=1215.1,
        round_gap=0.0027,
        waited=reason(
            "WAITING_FOR_CHEAPER",
            "Starts at 10:00 at qingyang/A800, at 0.199 yuan/kWh instead of now at 0.597 at "
            "horinger/H800; saves 9.80 yuan.",
        ),
    )


def _candidate(
    cluster: str,
    rtt_ms: float,
    green: float,
    yuan: tuple[float, ...],
    why: job_pb2.Reason,
    *,
    chosen: bool = False,
) -> placement_pb2.Candidate:
    names = ("price", "green", "data", "delay")
    return placement_pb2.Candidate(
        cluster=cluster,
        accelerator="A800",
        feasible=True,
        chosen=chosen,
        start_at=stamp(0 if chosen else 15),
        end_at=stamp(90),
        rtt_p95_ms=rtt_ms,
        green_share=green,
        energy_kwh=74.0,
        carbon_kg=11.9,
        terms=[
            placement_pb2.CostTerm(name=name, yuan=cost)
            for name, cost in zip(names, yuan, strict=True)
        ],
        total_yuan=sum(yuan),
        reason=why,
    )


def _ruled_out(
    cluster: str, accelerator: str, rtt_ms: float | None, code: str, message: str
) -> placement_pb2.Candidate:
    return placement_pb2.Candidate(
        cluster=cluster, accelerator=accelerator, rtt_p95_ms=rtt_ms, reason=reason(code, message)
    )


def waiting_explanation(job_id: str) -> placement_pb2.Explanation:
    """Nothing is near enough."""
    return placement_pb2.Explanation(
        job_id=job_id,
        round_id=41,
        decided_at=stamp(1),
        outcome=placement_pb2.OUTCOME_UNPLACED,
        reason=reason("LATENCY", "no cluster is within 4 ms of shenzhen; the nearest has 14.8 ms"),
        candidates=[
            _ruled_out("qingyang", "A800", 14.8, "LATENCY", "14.8 ms > 4 ms to shenzhen"),
            _ruled_out("zhongwei", "A800", 17.0, "LATENCY", "17.0 ms > 4 ms to shenzhen"),
        ],
        round_objective_yuan=1218.4,
        round_bound_yuan=1218.4,
    )


def clusters() -> placement_pb2.ListClustersResponse:
    def link(region: str, p95_ms: float) -> placement_pb2.RegionLink:
        rtt = node_pb2.RttFacts(region=region, p50_ms=p95_ms - 0.4, p95_ms=p95_ms, samples=60)
        return placement_pb2.RegionLink(region=region, rtt=rtt, age_s=2)

    def cluster(name: str, province: str, **more: object) -> placement_pb2.Cluster:
        made = placement_pb2.Cluster(
            name=name, province=province, connected=True, nodes=2, gpus=16, gpus_busy=8,
            price_yuan_per_kwh=0.398, green_supply_kw=5.5, load_kw=3.68, pue=1.15,
            grid_carbon_g_per_kwh=580, accelerators=["A800"], attempts=1,
            price_source="tariff table gansu.csv", green_source="series wind.csv",
            links=[link("shanghai", 13.1), link("beijing", 11.0), link("shenzhen", 14.8)],
        )  # fmt: skip
        made.MergeFrom(placement_pb2.Cluster(**more))  # type: ignore[arg-type]
        return made

    return placement_pb2.ListClustersResponse(
        clusters=[
            cluster(
                "qingyang", "Gansu", power_cap_kw=20,
                series=[
                    placement_pb2.SeriesState(
                        name="price", source="tariff table gansu.csv", age_s=90_000
                    ),
                    placement_pb2.SeriesState(
                        name="green supply", source="http 10.0.0.9:80 × load", from_share=True,
                        age_s=1500, measured=True, stale="http 10.0.0.9:80: answers 503",
                    ),
                ],
            ),
            cluster("horinger", "Inner Mongolia", price_yuan_per_kwh=0.32, gpus_busy=0),
            placement_pb2.Cluster(
                name="zhongwei", province="Ningxia", silent_s=94, nodes=1, gpus=8, pue=1.15,
                price_yuan_per_kwh=0.36,
            ),
        ],
        power_clock=node_pb2.PowerClock(speedup=60, real_at=stamp(0), clock_at=stamp(0)),
        now_at=stamp(0),
    )  # fmt: skip


def nodes() -> placement_pb2.ListNodesResponse:
    facts = node_pb2.NodeFacts(
        accelerator="A800", gpus=8, cpus=128, memory_gb=1024, gpu_power_kw=0.4, cpu_load=0.31
    )
    hurt = node_pb2.NodeFacts(
        pflops=2.184,
        gpu_draw_kw=2.61,
        gpu_load=0.87,
        gpu_temperature_c=71,
        disk_free_gb=3400,
        sick=[
            node_pb2.SickAccelerator(id="GPU-5d2e", reason="XID 79", attempt_ids=["01jq8w3k2m-1"])
        ],
    )
    hurt.MergeFrom(facts)
    hurt.gpus = 7
    return placement_pb2.ListNodesResponse(
        nodes=[
            placement_pb2.Node(
                id="qy-1", cluster="qingyang", head=True, facts=hurt, gpus_busy=7, silent_s=1.2,
                lifecycle=placement_pb2.NODE_LIFECYCLE_READY, agent_version="0.1.0",
            ),
            placement_pb2.Node(
                id="qy-2", cluster="qingyang", facts=facts, silent_s=41,
                lifecycle=placement_pb2.NODE_LIFECYCLE_SUSPECT, agent_version="0.1.0",
                rejections=[
                    node_pb2.FieldRejection(
                        field="node.gpus", value="900", reason="more than 64 in one host"
                    )
                ],
            ),
            placement_pb2.Node(
                id="qy-3", cluster="qingyang", facts=facts, silent_s=0.4, gpus_busy=4, attempts=1,
                lifecycle=placement_pb2.NODE_LIFECYCLE_DRAINING, agent_version="0.1.0",
                mark=placement_pb2.NodeMark(
                    actor="operator", reason="fan", at=stamp(0), drain_until_at=stamp(120)
                ),
            ),
        ]
    )  # fmt: skip


def placements() -> placement_pb2.ListPlacementsResponse:
    def placement(job: job_pb2.Job, cluster: str, **more: object) -> placement_pb2.Placement:
        made = placement_pb2.Placement(
            job_id=job.id, job_name=job.spec.name, tenant=job.spec.tenant, region=job.spec.region,
            job_state=job.state, committed=True, cluster=cluster, accelerator="A800",
            workers=job.attempts[-1].workers if job.attempts else [], start_at=stamp(1),
            end_at=stamp(91), energy_kwh=74, green_share=0.74, cost_yuan=27.6, carbon_kg=11.9,
            round_id=41, saving=explanation(job.id).saving,
        )  # fmt: skip
        made.MergeFrom(placement_pb2.Placement(**more))  # type: ignore[arg-type]
        return made

    running, deferred, *_ = jobs()
    planned = placement(deferred, "zhongwei", start_at=stamp(120), end_at=stamp(330))
    planned.committed = False
    planned.runs.extend([span(120, 210), span(300, 330)])
    return placement_pb2.ListPlacementsResponse(
        placements=[placement(running, "qingyang"), planned]
    )


def rounds() -> placement_pb2.ListRoundsResponse:
    stages = [
        placement_pb2.Stage(name="candidates", ms=12.2),
        placement_pb2.Stage(name="solve", ms=88.1),
    ]
    return placement_pb2.ListRoundsResponse(
        rounds=[
            placement_pb2.Round(
                id=41, at=stamp(1), trigger="submit", jobs=5, placed=2, planned=1, unplaced=2,
                objective_yuan=1218.4, bound_yuan=1215.1, gap=0.0027, wall_ms=104.6, stages=stages,
                reasons={"LATENCY": 1, "CAPACITY": 1}, interruptions={"PREEMPT": 1}, running=12,
                nodes=64, clusters=3, moved=3, kept=117,
            ),
            placement_pb2.Round(id=40, at=stamp(0), trigger="tick", wall_ms=0.4),
        ]
    )  # fmt: skip
