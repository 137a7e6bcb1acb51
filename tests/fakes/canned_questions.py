"""Answers to questions about the plan, in messages of the wire, of the same scene as ``canned``."""

from tests.fakes import canned
from tests.fakes.canned import stamp
from westward.v1 import placement_pb2, preview_pb2, what_if_pb2

TOKEN = "plan.TraXHj4nAQBrAko-ywR3PIXH7TUAAAGe2OLCAEAZmZpxaW5neWFuZwBBODAw"


def _standing(
    cluster: str, minutes: float, yuan: float, *, runs: bool = False
) -> preview_pb2.Standing:
    return preview_pb2.Standing(
        cluster=cluster, accelerator="A800", start_at=stamp(minutes), cost_yuan=yuan, runs=runs
    )


def effects() -> list[preview_pb2.Effect]:
    """One of each kind."""
    nowhere = preview_pb2.Standing()
    told = [
        ("STOPPED", _standing("qingyang", -200, 0, runs=True), _standing("zhongwei", 15, 9.4)),
        ("LOST", _standing("qingyang", 15, 4.2), nowhere),
        ("MOVED", _standing("qingyang", 0, 27.6), _standing("horinger", 120, 29.1)),
        ("LATER", _standing("zhongwei", 30, 3.1), _standing("zhongwei", 1500, 3.1)),
        ("GAINED", nowhere, _standing("guian", 45, 6.6)),
        ("SPARED", _standing("guian", 90, 2.2), _standing("horinger", -60, 0, runs=True)),
        ("SOONER", _standing("guian", 90, 2.2), _standing("guian", 15, 2.0)),
    ]
    names = (
        "llama-sft",
        "nightly-embeddings",
        "a-rather-long-name-of-a-job",
        "sweep",
        "",
        "x",
        "y",
    )
    return [
        preview_pb2.Effect(
            job_id=f"1k7dq3m8ta0{n}",
            job_name=name,
            kind=preview_pb2.EffectKind.Value(f"EFFECT_KIND_{kind}"),
            before=before,
            after=after,
            later_s=(after.start_at.seconds - before.start_at.seconds)
            if kind in ("MOVED", "LATER", "SOONER")
            else 0.0,
        )
        for n, (name, (kind, before, after)) in enumerate(zip(names, told, strict=True))
    ]


def preview(*, chunks: int = 1) -> placement_pb2.PreviewResponse:
    """A job that would start now, for which others give way."""
    told = canned.explanation("")
    job = placement_pb2.PreviewedJob(
        explanation=told, outcome=placement_pb2.OUTCOME_PLACED, chunks=chunks, chunks_now=chunks,
        cluster="qingyang", accelerator="A800", start_at=stamp(0), end_at=stamp(90),
        energy_kwh=74.0, green_share=0.74, cost_yuan=27.6, carbon_kg=11.9, saving=told.saving,
    )  # fmt: skip
    if chunks > 1:
        job.outcome, job.chunks_now, job.chunks_later = placement_pb2.OUTCOME_UNPLACED, 1, 2
    return placement_pb2.PreviewResponse(
        jobs=[job],
        effects=effects()[:4],
        effects_total=23,
        token=TOKEN if chunks == 1 else "",
        token_expires_at=stamp(15),
        now_at=stamp(0),
    )


def nowhere() -> placement_pb2.PreviewResponse:
    """A job that has no place, and disturbs nobody."""
    job = placement_pb2.PreviewedJob(
        explanation=canned.waiting_explanation(""), outcome=placement_pb2.OUTCOME_UNPLACED, chunks=1
    )
    return placement_pb2.PreviewResponse(jobs=[job], now_at=stamp(0))


def what_if(*, differs: bool = True) -> what_if_pb2.WhatIfResponse:
    """A hub is drained: some wait longer, one has no place any more."""
    before = what_if_pb2.PlanTotals(
        now=12, later=1840, unplaced=3, cost_yuan=12345.6, energy_kwh=31_000, green_share=0.712,
        carbon_kg=4210.5, utilisation=0.912, stopped=0, gap=0.0027,
    )  # fmt: skip
    after = what_if_pb2.PlanTotals()
    after.CopyFrom(before)
    if not differs:
        return what_if_pb2.WhatIfResponse(before=before, after=after, now_at=stamp(0))
    after.MergeFrom(
        what_if_pb2.PlanTotals(
            now=9, later=1842, unplaced=4, cost_yuan=12811.2, energy_kwh=30_912.4,
            green_share=0.655, carbon_kg=5190.2, utilisation=0.957, stopped=1, gap=0.0041,
        )
    )  # fmt: skip
    return what_if_pb2.WhatIfResponse(
        before=before, after=after, effects=effects(), effects_total=412, now_at=stamp(0)
    )
