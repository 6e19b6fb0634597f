"""Compute clusters at work: nodes that come and go by the scale settings, and the jobs that get them.

A cluster's nodes and its queue lie in its row of the store, in the same transaction as the statuses of its jobs, so a
kill of Local Azure loses neither the order nor a node. Times are the weather's: nodes are there at once unless it
makes them take theirs, as `ALLOCATE` and `RELEASE` of `…/computes/nodes`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from localazure.arm import ids
from localazure.arm.later import Later
from localazure.arm.store import Resource, now
from localazure.arm.weather import Occasion, Weather
from localazure.errors import LocalAzureError, UnknownName
from localazure.providers.cloud import Cloud
from localazure.providers.ml import allocation, nodes, quota
from localazure.providers.ml.allocation import Ask, Means, Outlook, Pool
from localazure.providers.ml.job_documents import is_batch
from localazure.providers.ml.names import COMPUTE_TYPE, DELETING, FAILED, JOB_TYPE
from localazure.serving.metrics import Clock

ENDED = ("Completed", "Failed", "Canceled")
# How soon a cluster that the quota keeps small tries again by itself; others that shrink tell it at once. Also how soon
# what the store could not keep is tried again.
RETRY_SECONDS = 15.0

Failure = dict[str, str]
Places = Mapping[int, int]
"""The node, by number, that each instance of a job has now."""


class Crew(Protocol):
    """Who carries the jobs out."""

    def start(self, job: Resource, places: Places) -> None:
        """A job has its nodes."""

    def move(self, job: Resource, places: Places) -> None:
        """A job that runs has other nodes than before."""

    def cancel(self, job: Resource) -> None:
        """A job that runs is at its end, for a reason that is not its own; how it ends is written already."""


class Clusters:
    """The nodes of all clusters. Thread-safe: the store's lock is the only one."""

    def __init__(self, cloud: Cloud, weather: Weather, clock: Clock) -> None:
        self._cloud = cloud
        self._weather = weather
        self._clock = clock
        self._later = Later()
        self._crew: Crew | None = None

    def attach(self, crew: Crew) -> None:
        """Names who carries the jobs out; before `resume`."""
        self._crew = crew

    def resume(self) -> None:
        """Takes the clusters up as the store has them, without the jobs that have ended or gone meanwhile."""
        for known in self._all():
            with self._cloud.store.transaction():
                # An operation that was taken up, too, may have changed it since.
                if (cluster := self._cloud.store.get(known.id)) is None:
                    continue
                pool = nodes.pool(cluster)
                for ask in (*pool.running, *pool.waiting):
                    job = self._job(cluster, ask.job)
                    if job is None or job.properties["status"] in ENDED:
                        pool = allocation.leave(pool, ask.job, self._now())
                if pool != nodes.pool(cluster):
                    self._cloud.store.put(nodes.with_pool(cluster, pool))
                self.step(cluster.id)

    def stop(self) -> None:
        """Nothing moves by itself any more."""
        self._later.stop()

    # Jobs ------------------------------------------------------------------------------------------------------------

    def enter(self, job_id: str) -> None:
        """A job is there, new or from before a restart: it gets its nodes, waits for them, or fails."""
        with self._cloud.store.transaction():
            job = self._cloud.store.get(job_id)
            if job is None or job.properties["status"] in ENDED:
                return
            cluster = self._of(job)
            if job.properties["status"] == "CancelRequested":
                # A restart may find it on its nodes.
                self.end(job, "Canceled", None)
            elif reason := self._cannot_run(job, cluster):
                self._end(job, "Failed", {"code": "UserError", "message": reason})
            elif cluster is None or not nodes.is_cluster(cluster):
                # Nothing takes nodes from such a compute, so nobody asks for the places there.
                self._start(job, {})
            else:
                self._admit(job, cluster)

    def _admit(self, job: Resource, cluster: Resource) -> None:
        pool = nodes.pool(cluster)
        if any(ask.job == job.name for ask in pool.running):
            self._start(job, pool.places(job.name))
            return
        if all(ask.job != job.name for ask in pool.waiting):
            self._cloud.store.put(nodes.with_pool(cluster, allocation.enter(pool, Ask(job.name, instances(job)))))
        self.step(cluster.id)
        after = self._cloud.store.get(cluster.id)
        if after is not None and any(ask.job == job.name for ask in nodes.pool(after).waiting):
            change_job(self._cloud, job.id, "Queued")

    def _cannot_run(self, job: Resource, cluster: Resource | None) -> str | None:
        """Why a job will never get its nodes."""
        name = ids.name(str(job.properties.get("computeId") or "").removeprefix("azureml:"))
        if cluster is None:
            # Recorded from the live service (Azure/MachineLearningNotebooks, issue 906).
            return f"AzureMLCompute cluster {name} does not exist"
        if not nodes.is_cluster(cluster) or any(ask.job == job.name for ask in nodes.pool(cluster).running):
            return None
        if cluster.state == FAILED and not nodes.is_ready(cluster):
            return f"The compute cluster '{name}' is in Failed provisioning state: delete it and create it again."
        wanted, most = instances(job), nodes.scale(cluster).most
        return _too_many(name, wanted, most) if wanted > most else quota.excess(self._cloud, cluster, wanted)

    def end(self, job: Resource, status: str, error: Failure | None) -> None:
        """A job has ended: that is written, and its nodes are idle, in one transaction."""
        with self._cloud.store.transaction():
            self._end(job, status, error)
            cluster = self._of(job)
            if cluster is not None and nodes.is_cluster(cluster):
                pool = allocation.leave(nodes.pool(cluster), job.name, self._now())
                self._cloud.store.put(nodes.with_pool(cluster, pool))
                self.step(cluster.id)

    def withdraw(self, job: Resource) -> None:
        """Cancels a job that nobody carries out: at once, or, where it is just about to begin, as soon as it does."""
        with self._cloud.store.transaction():
            cluster = self._of(job)
            pool = nodes.pool(cluster) if cluster is not None else Pool()
            if any(ask.job == job.name for ask in pool.running):
                change_job(self._cloud, job.id, "CancelRequested")
            else:
                self.end(job, "Canceled", None)

    def may_lose_nodes(self, job: Resource) -> bool:
        """Whether Azure may take a job's nodes back while it runs."""
        cluster = self._of(job)
        return cluster is not None and nodes.is_cluster(cluster) and nodes.is_low_priority(cluster)

    # Clusters --------------------------------------------------------------------------------------------------------

    def step(self, cluster_id: str) -> None:
        """Looks at a cluster: whatever its time, its scale settings and its jobs ask for is done."""
        with self._cloud.store.transaction():
            cluster = self._cloud.store.get(cluster_id)
            if cluster is None or not nodes.is_cluster(cluster) or not nodes.is_ready(cluster):
                return
            before = nodes.pool(cluster)
            step = allocation.advance(before, nodes.scale(cluster), self._now(), self._means(cluster))
            if step.pool != before:
                self._cloud.store.put(nodes.with_pool(cluster, step.pool))
            for ask in step.refused:
                self._refuse(cluster, ask)
            self._tell(cluster, before, step.pool, {ask.job for ask in step.started})
            if len(step.pool.nodes) < len(before.nodes):
                self._wake_starved(cluster)
            self._cloud.store.after_commit(lambda: self._watch(cluster, step.pool))

    def _tell(self, cluster: Resource, before: Pool, after: Pool, started: set[str]) -> None:
        for ask in after.running:
            places = after.places(ask.job)
            if before.places(ask.job) == places or (job := self._job(cluster, ask.job)) is None:
                continue
            if ask.job in started:
                self._start(job, places)
            elif crew := self._crew:
                self._cloud.store.after_commit(lambda crew=crew, job=job, places=places: crew.move(job, places))

    def _start(self, job: Resource, places: Places) -> None:
        if crew := self._crew:
            self._cloud.store.after_commit(lambda: crew.start(job, places))

    def _refuse(self, cluster: Resource, ask: Ask) -> None:
        """Ends a job that waited for more nodes than its cluster may have by now."""
        if job := self._job(cluster, ask.job):
            reason = _too_many(cluster.name, ask.instances, nodes.scale(cluster).most)
            self._end(job, "Failed", {"code": "UserError", "message": reason})

    def close(self, cluster: Resource) -> Resource:
        """The cluster without nodes, as it is about to be deleted: the jobs on it fail, whether they run or wait."""
        pool = nodes.pool(cluster)
        error = {"code": "UserError", "message": f"AzureMLCompute cluster {cluster.name} does not exist"}
        for ask in pool.waiting:
            if job := self._job(cluster, ask.job):
                self._end(job, "Failed", error)
        for ask in pool.running:
            self._interrupt(cluster, ask.job, "Failed", error)
        return nodes.with_pool(cluster, Pool(made=pool.made))

    def preempt(self, name: str, count: int, seconds: float) -> dict[str, Any]:
        """Azure takes nodes of a low-priority cluster back, those that work first, for a time.

        Their mini-batches go to the job's other nodes; a job that loses its last node is canceled.

        Args:
            name: the cluster's, or `workspace/cluster`.
            count: how many nodes.
            seconds: after which Azure has nodes to give again.

        Raises:
            UnknownName: there is no such cluster.
            LocalAzureError: several have the name, or its nodes are dedicated.
        """
        with self._cloud.store.transaction():
            cluster = self._named(name)
            if not nodes.is_low_priority(cluster):
                raise LocalAzureError(
                    f"The cluster {cluster.name} has dedicated nodes, which Azure never takes back: vmPriority "
                    "LowPriority has those that it does."
                )
            before, moment = nodes.pool(cluster), self._now()
            pool, bereft = allocation.preempt(before, count, moment, moment + seconds)
            self._cloud.store.put(nodes.with_pool(cluster, pool))
            self._tell(cluster, before, pool, set())
            for job in bereft:
                self._interrupt(cluster, job, "Canceled", _preempted(cluster))
            self.step(cluster.id)
            taken = len(_taken_back(pool) - _taken_back(before))
            return {"cluster": cluster.name, "preempted": taken, "canceled": list(bereft)}

    def _interrupt(self, cluster: Resource, name: str, status: str, error: Failure) -> None:
        """Ends a job that runs. What becomes of it is written now: it takes a while to stop, and a kill may come."""
        if job := self._job(cluster, name):
            change_job(self._cloud, job.id, "CancelRequested", {"verdict": [status, error]})
            if crew := self._crew:
                self._cloud.store.after_commit(lambda: crew.cancel(job))

    def _watch(self, cluster: Resource, pool: Pool) -> None:
        """Sees to it that the cluster is looked at when time alone changes something."""
        moment = self._now()
        times = [allocation.due(pool, nodes.scale(cluster), moment), moment + RETRY_SECONDS if pool.starved else None]
        if due := min((each for each in times if each), default=None):
            self._look_in(cluster.id, due - moment)

    def _look_in(self, cluster_id: str, seconds: float) -> None:
        self._later.once(ids.key(cluster_id), time.time() + seconds, lambda: self._look(cluster_id))

    def _look(self, cluster_id: str) -> None:
        try:
            self.step(cluster_id)
        except Exception:
            # Nothing of it was kept, nor what would have had it looked at again.
            self._look_in(cluster_id, RETRY_SECONDS)
            raise

    def _wake_starved(self, but: Resource) -> None:
        for cluster in self._all():
            if not ids.same(cluster.id, but.id) and nodes.pool(cluster).starved:
                self._cloud.store.after_commit(lambda each=cluster.id: self.step(each))

    def _means(self, cluster: Resource) -> Means:
        return Means(
            lambda number: self._outlook(cluster, number, "ALLOCATE"),
            lambda number: self._outlook(cluster, number, "RELEASE").seconds,
            lambda: quota.room(self._cloud, cluster),
        )

    def _outlook(self, cluster: Resource, number: int, method: str) -> Outlook:
        """When a node is there, or gone, and whether it ever comes: the weather's business."""
        if self._weather.calm:
            return Outlook()
        path = f"{cluster.id}/nodes/{number}"
        with self._weather.during(Occasion(method, path, f"{method} nodes", new=method == "ALLOCATE")):
            found = self._weather.outlook(path)
        return Outlook(max(0.0, found["due"] - time.time()), found["failure"]) if found else Outlook()

    # Look-ups --------------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._clock().timestamp()

    def _all(self) -> Iterator[Resource]:
        return filter(nodes.is_cluster, self._cloud.store.of_type(COMPUTE_TYPE))

    def _named(self, name: str) -> Resource:
        clusters = {f"{ids.name(ids.parent(each.id))}/{each.name}": each for each in self._all()}
        fitting = [key for key in clusters if name.lower() in (key.lower(), key.rpartition("/")[2].lower())]
        if len(fitting) == 1:
            return clusters[fitting[0]]
        if fitting:
            raise LocalAzureError(f"{name!r} fits several clusters: {', '.join(fitting)}. Name one of them.")
        known = ", ".join(each.name for each in clusters.values()) or "none"
        raise UnknownName(f"There is no compute cluster called {name!r}; there are: {known}.")

    def _of(self, job: Resource) -> Resource | None:
        """The compute of a job: it names it by id, or by name as in `azureml:<name>`; None where it is gone."""
        named = str(job.properties.get("computeId") or "").removeprefix("azureml:")
        found = self._cloud.store.get(named if "/" in named else f"{ids.parent(job.id)}/computes/{named}")
        return found if found is not None and ids.same(found.type, COMPUTE_TYPE) and found.state != DELETING else None

    def _job(self, cluster: Resource, name: str) -> Resource | None:
        found = self._cloud.store.get(f"{ids.parent(cluster.id)}/jobs/{name}")
        return found if found is not None and ids.same(found.type, JOB_TYPE) and is_batch(found) else None

    # Statuses --------------------------------------------------------------------------------------------------------

    def _end(self, job: Resource, status: str, error: Failure | None) -> None:
        change_job(self._cloud, job.id, status, {"endTime": now(), "error": error})


def change_job(cloud: Cloud, job_id: str, status: str, hidden: dict[str, Any] | None = None) -> bool:
    """Gives a job another status, unless it is gone or has ended: an end is for good. Says whether it could."""
    with cloud.store.transaction():
        found = cloud.store.get(job_id)
        if found is None or found.properties["status"] in ENDED:
            return False
        if found.properties["status"] == "CancelRequested" and status not in ENDED:
            # A cancellation has to outlive a kill, however far the job goes on until it hears of it.
            status = "CancelRequested"
        kept = {**found.hidden, **(hidden or {})}
        if status in ENDED and (verdict := found.hidden.get("verdict")):
            # Decided when its nodes went, and answered: whatever it came to meanwhile is too late.
            status, kept["error"] = verdict
        cloud.store.put(replace(found.with_properties(status=status), hidden=kept))
        return True


def instances(job: Resource) -> int:
    """How many nodes a job is to run on."""
    settings = job.hidden.get("settings") or {}
    return int((settings.get("resources") or {}).get("instanceCount") or 1)


def _too_many(name: str, wanted: int, most: int) -> str:
    return (
        f"The job asks for {wanted} instances, and its compute cluster '{name}' has {most} at most: give it a lower "
        f"'instanceCount', or the cluster a maxNodeCount of {wanted} or more."
    )


def _preempted(cluster: Resource) -> Failure:
    # Azure's documentation has the rule (how-to-use-low-priority-batch), and no recording the words.
    text = (
        f"All nodes that the job had of the low-priority cluster '{cluster.name}' were preempted, so there is no "
        "capacity available for it to run: submit it again."
    )
    return {"code": "UserError", "message": text}


def _taken_back(pool: Pool) -> set[int]:
    return {node.number for node in pool.nodes if node.state == "preempted"}
