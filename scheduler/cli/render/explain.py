"""Why here, why waiting: the candidates of a job with every term, and what decided."""

from collections.abc import Sequence, Set

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import common, heat, rounds
from scheduler.cli.render.noted import Noted, fits
from westward.v1 import job_pb2, placement_pb2, why_pb2

_OUTCOMES = {
    placement_pb2.OUTCOME_PLACED: ("placed", "green"),
    placement_pb2.OUTCOME_PLANNED: ("planned", "cyan"),
    placement_pb2.OUTCOME_UNPLACED: ("waits", "yellow"),
}


def explanation(
    told: placement_pb2.Explanation,
    starts: why_pb2.Starts | None = None,
    job: job_pb2.Job | None = None,
) -> RenderableType:
    """The verdict, why it had waited, the candidates, what every start would cost if asked for,
    what was full, the saving, the round; of a ``job`` that waits no more, first what became of it.
    """
    waits_no_more = job is not None and job.state != job_pb2.JOB_STATE_PENDING
    if job is not None and waits_no_more and told.outcome != placement_pb2.OUTCOME_PLACED:
        parts = _became(told, job)
    else:
        parts = [_verdict(told)]
    if told.HasField("waited"):
        parts.append(_told_then("Waited", told.waited))
    if told.HasField("first_planned_at"):
        parts.append(_planned_first(told))
    parts += [Text(), *candidates(told)]
    if starts is not None:
        parts += [heat.Heat(starts), Text()]
    parts += binding(told)
    if told.HasField("saving"):
        parts.append(saving(told.saving))
    parts.append(_round(told))
    return Group(*parts)


def candidates(told: placement_pb2.Explanation) -> list[RenderableType]:
    """The table of candidates, if there are any."""
    return [_Candidates(told), Text()] if told.candidates else []


def binding(told: placement_pb2.Explanation) -> list[RenderableType]:
    """What was full."""
    return [_constraint(item) for item in told.binding]


class _Candidates:
    """The table, with as many cost terms of their own as there is room for; the small ones are
    summed where there is not."""

    def __init__(self, told: placement_pb2.Explanation) -> None:
        self._candidates = sorted(
            told.candidates, key=lambda c: (not c.chosen, not c.feasible, c.total_yuan, c.cluster)
        )
        self._any_feasible = any(candidate.feasible for candidate in self._candidates)
        self._day = common.local(told.decided_at).date()
        self._verdict = told.reason.message

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = _term_names(self._candidates)
        while len(names) > 1 and not fits(self._table(names, noted=False), console, options):
            names = _without_smallest(names, self._candidates)
        notes = [self._note(candidate) for candidate in self._candidates]
        yield Noted(lambda noted: self._table(names, noted=noted), notes, indent=5)

    def _table(self, names: Sequence[str], *, noted: bool) -> Table:
        others = set(_term_names(self._candidates)) - set(names)
        costs = ("GREEN", "kWh", *names, *(["other"] if others else []), "TOTAL ¥")
        table = common.table()
        for head in ("", "CLUSTER"):
            table.add_column(head, no_wrap=True)
        for head in ("START", "RTT ms", *(costs if self._any_feasible else ())):
            table.add_column(head, justify="right", no_wrap=True)
        if noted:
            table.add_column("WHY", no_wrap=True)
        for candidate in self._candidates:
            style = "bold" if candidate.chosen else "" if candidate.feasible else "dim"
            figures = self._figures(candidate, names, others)
            note = [self._note(candidate)] if noted else []
            table.add_row(_mark(candidate), _pool(candidate), *figures, *note, style=style)
        return table

    def _figures(
        self, candidate: placement_pb2.Candidate, names: Sequence[str], others: Set[str]
    ) -> list[str]:
        terms = {term.name: term.yuan for term in candidate.terms}
        rtt = f"{candidate.rtt_p95_ms:.1f}" if candidate.HasField("rtt_p95_ms") else "?"
        if not self._any_feasible:
            return ["", rtt]
        if not candidate.feasible:
            return ["", rtt, *[""] * (3 + len(names) + bool(others))]
        rest = [common.figure(sum(terms.get(name, 0.0) for name in others))] if others else []
        return [
            self._start(candidate),
            rtt,
            common.percent(candidate.green_share),
            common.figure(candidate.energy_kwh),
            *(common.figure(terms.get(name, 0.0)) for name in names),
            *rest,
            common.figure(candidate.total_yuan),
        ]

    def _note(self, candidate: placement_pb2.Candidate) -> Text:
        """Why it lost, or what it won by where the verdict above has not said so."""
        said = candidate.chosen and candidate.reason.message in self._verdict
        return Text() if said else common.reason(candidate.reason)

    def _start(self, candidate: placement_pb2.Candidate) -> str:
        at = common.local(candidate.start_at)
        return f"{at:%H:%M}" if at.date() == self._day else common.when(candidate.start_at)


def _term_names(candidates: Sequence[placement_pb2.Candidate]) -> list[str]:
    """Terms in the planner's order; one that is nil for every candidate decides nothing."""
    names = dict.fromkeys(
        term.name
        for c in candidates
        for term in c.terms
        if c.feasible and abs(term.yuan) >= common.NOTHING
    )
    return list(names)


def _without_smallest(
    names: Sequence[str], candidates: Sequence[placement_pb2.Candidate]
) -> list[str]:
    size = dict.fromkeys(names, 0.0)
    for term in (term for candidate in candidates for term in candidate.terms):
        if term.name in size:
            size[term.name] = max(size[term.name], abs(term.yuan))
    smallest = min(names, key=lambda name: size[name])
    return [name for name in names if name != smallest]


def _mark(candidate: placement_pb2.Candidate) -> Text:
    if candidate.chosen:
        return Text("✔", "bold green")
    return Text(" ") if candidate.feasible else Text("✗", "red")


def _pool(candidate: placement_pb2.Candidate) -> str:
    return common.clean(f"{candidate.cluster} {candidate.accelerator}".strip())


def _verdict(told: placement_pb2.Explanation) -> Text:
    word, style = _OUTCOMES.get(told.outcome, ("undecided", ""))
    return Text.assemble(
        f"Job {told.job_id} ",
        (word, f"bold {style}"),
        ": ",
        common.clean(told.reason.message) or common.clean(told.reason.code),
    )


def _became(told: placement_pb2.Explanation, job: job_pb2.Job) -> list[RenderableType]:
    """What the job is now, and what a round had told of it before."""
    said = common.clean(job.reason.message) or common.clean(job.reason.code)
    state = common.job_state(job.state)
    now = Text.assemble(f"Job {told.job_id} ", state, f": {said}" if said else "")
    planned = told.outcome == placement_pb2.OUTCOME_PLANNED
    return [now, _told_then("Planned" if planned else "Waited", told.reason)]


def _told_then(word: str, reason: job_pb2.Reason) -> Text:
    said = common.clean(reason.message) or common.clean(reason.code)
    return Text.assemble((f"{word}, as told then: ", "bold"), said)


def _constraint(item: placement_pb2.BindingConstraint) -> Text:
    return Text.assemble(("Full: ", "bold"), common.clean(item.message) or common.clean(item.name))


def saving(saving: placement_pb2.Saving) -> Text:
    """Against running at origin at once."""
    yuan = saving.origin_yuan - saving.yuan
    kg = saving.origin_carbon_kg - saving.carbon_kg
    kwh = saving.origin_kwh - saving.kwh
    share = f" ({common.percent(yuan / saving.origin_yuan)})" if saving.origin_yuan > 0 else ""
    return Text.assemble(
        ("Saves: " if yuan >= 0 else "Costs: ", "bold"),
        f"{common.figure(abs(yuan))} yuan{share}, {common.figure(kwh)} kWh, "
        f"{common.figure(kg)} kgCO2 against running at origin at once "
        f"({common.figure(saving.origin_yuan)} yuan there, {common.figure(saving.yuan)} here)",
    )


def _planned_first(told: placement_pb2.Explanation) -> Text:
    at = f"{common.when(told.first_planned_at)} {common.zone(told.first_planned_at)}"
    return Text.assemble(("First planned for: ", "bold"), at)


def _round(told: placement_pb2.Explanation) -> Text:
    which = f"Round {told.round_id}" if told.round_id else "Asked again, not a round,"
    return Text(
        f"{which} at {common.when(told.decided_at, seconds=True)} "
        f"{common.zone(told.decided_at)}: {common.figure(told.round_objective_yuan)} yuan over all "
        f"jobs, bound {common.figure(told.round_bound_yuan)}, gap {rounds.gap(told.round_gap)}",
        "dim",
    )
