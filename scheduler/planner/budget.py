"""How much work a round may do."""

from dataclasses import dataclass, replace

# About what the work of a whole budget takes on one core, in seconds: for each pair of a class and
# a pool that prices are sought for, and for each that is looked at when jobs are placed or moved.
S_PER_PAIR = 2e-6
S_PER_LOOK = 3e-6
# Without some sense of prices, and a second chance for those left out, plans are far from good.
DUAL_PASSES_LEAST = 16
TRIES_LEAST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much work a round may do; counted, not timed, so that a round can be repeated.

    Attributes:
        dual_passes: times that the jobs, or a fold of them, are asked for the shadow prices.
        tries: orders in which jobs are placed, each from what the one before left out.
        tries_looks: pairs looked at for that in all, after which no other try begins.
        sweeps: passes of single moves over all jobs, those first that lose most.
        looks: pairs that such moves may look at in all.
        exact_options: up to so many options in all, CP-SAT plans everything at once, above it one
            neighbourhood after another; 0 leaves it out.
        exact_work: CP-SAT's deterministic time, about seconds of one core.
        split_states: states looked at for jobs in several runs, for the bound and for the plan
            each.
        explained: jobs that do not start now but are explained with all their candidates.
        seconds: about so much of one core for all of the search; less work is done where the above
            would take more, though never less than one pass over all options for a bound and one
            attempt at a plan. None: as the counts say.
    """

    dual_passes: int = 60
    tries: int = 12
    tries_looks: int = 2_000_000
    sweeps: int = 3
    looks: int = 200_000
    exact_options: int = 2000
    exact_work: float = 0.1
    split_states: int = 20_000_000
    explained: int = 50
    seconds: float | None = None

    def fitted(self, pairs: int) -> "Budget":
        """The counts that so many seconds allow, for so many pairs of classes and pools."""
        if self.seconds is None:
            return self
        most_s = S_PER_LOOK * (self.tries_looks + self.looks)
        whole_s = S_PER_PAIR * pairs + min(most_s, 3 * S_PER_PAIR * pairs) + self.exact_work
        share = self.seconds / whole_s
        if share >= 1:
            return self
        return replace(
            self,
            dual_passes=max(DUAL_PASSES_LEAST, int(self.dual_passes * share)),
            tries=max(TRIES_LEAST, int(self.tries * share)),
            tries_looks=int(self.tries_looks * share),
            looks=int(self.looks * share),
            exact_work=self.exact_work * share,
            split_states=int(self.split_states * share),
            exact_options=self.exact_options if share > 0.5 else 0,
        )
