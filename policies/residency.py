"""A job stays in the clusters or provinces it names, and out of those it excludes."""

from policies.base import PairFilter, Policy
from policies.scene import Bools, Scene
from scheduler.domain.job import JobSpec
from scheduler.domain.reason import ReasonCode


def _asked(spec: JobSpec) -> object:
    return spec.must_be_in, spec.must_not_be_in


def _allows(scene: Scene) -> Bools:
    sites = [scene.site_of(p).site for p in range(len(scene.pools))]

    def allowed(spec: JobSpec) -> list[bool]:
        must, must_not = set(spec.must_be_in), set(spec.must_not_be_in)
        here = [{site.cluster, site.province} for site in sites]
        return [not h & must_not and (not must or bool(h & must)) for h in here]

    return scene.judge(_asked, allowed)


def _why(scene: Scene, klass: int, pool: int) -> str:
    spec, site = scene.classes[klass].spec, scene.site_of(pool).site
    here = f"{site.cluster} lies in {site.province}"
    if {site.cluster, site.province} & set(spec.must_not_be_in):
        return f"{here}; the job must not be in {', '.join(spec.must_not_be_in)}."
    return f"{here}; the job must be in {' or '.join(spec.must_be_in)}."


POLICY = Policy(name="residency", pair_filters=(PairFilter(ReasonCode.RESIDENCY, _allows, _why),))
