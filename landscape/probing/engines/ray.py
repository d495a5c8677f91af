"""Evaluate probes on the actors of a Ray cluster, each of which holds a model; this process alone writes to the store.

    driver    plan → tasks (a direction, its λ, their windows; or positions and their windows) → results → store
    actor     model at w → ``InlineEngine`` on a task → results, every half second

A session starts its actors with its first plan that has anything to evaluate, and ends them with itself. Model, points
and families of directions travel once to each machine. The probes that an actor had left when it died go to the others.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from landscape.positions.atlas import Atlas
from landscape.positions.position import CENTER, At, OnParts, OnPlane, OnRay, OnSegment, Position
from landscape.probing.engines.ray_room import actors_in, check_memory, check_states, cores_for
from landscape.probing.engines.ray_worker import Arithmetic, RayWorker, circumstances
from landscape.probing.engines.shipping import PackedModel, PackedPlan, pack_family, pack_vector
from landscape.probing.engines.tasks import TaskQueue
from landscape.probing.plan import Probe, ProbePlan, ProbeResult
from landscape.probing.ray_cluster import check_ray, ray_cluster
from quant.errors import ToolkitError, UsageError, first_line
from quant.space import WeightSpace

_START_SECONDS = 600.0
"""Longest wait for the first actor: other jobs of the cluster may hold its cores."""


@dataclass(frozen=True)
class RayOptions:
    """Options of ``--engine ray``."""

    address: str | None = None
    """Address of a cluster; None starts one on this machine."""
    workers: int | None = None
    """Number of actors; None for as many as the cluster has room for."""
    gpus: float | None = None
    """GPUs per actor; None for one if the model of the driver is on a GPU, else none."""


@dataclass(eq=False)
class _Task:
    """A task that an actor is at."""

    actor: Any
    plan: ProbePlan
    done: dict[Probe, ProbeResult] = field(default_factory=dict)


class RayActors:
    """The actors of one session; a context that yields the maker of its engines."""

    def __init__(self, options: RayOptions, warn: Callable[[str], None]) -> None:
        """Check the options, and start nothing yet.

        Args:
            options: Options of the user.
            warn: Takes one line about an actor that died.

        Raises:
            UsageError: if Ray is not installed, or the options do not fit.
        """
        check_ray(options.address)
        self._options, self._warn = options, warn
        self._stack = ExitStack()
        self._ray: Any = None
        self._shipped: dict[str, Any] = {}
        self.idle: list[Any] = []
        """Actors without a task."""
        self._starting: dict[Any, Any] = {}  # actors by the reference to their circumstances

    def __enter__(self) -> Callable[[nn.Module, WeightSpace, Atlas, int], RayEngine]:
        return partial(RayEngine, self)

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def count(self) -> int:
        """Number of actors without a task, those that are starting included."""
        return len(self.idle) + len(self._starting)

    def start(self, model: nn.Module, space: WeightSpace) -> None:
        """Start the actors, unless they are there: they report when they are ready.

        Raises:
            UsageError: if the cluster has no room for them, or the model does not fit them.
            ToolkitError: if Ray does not start.
        """
        if self._ray is not None:
            return
        device = _device_of(model)
        gpus = self._options.gpus if self._options.gpus is not None else float(device == "cuda")
        if (device == "cuda") != (gpus > 0):
            raise UsageError(
                f"expected a model and actors on the same kind of device, got --device {device} and --ray-gpus "
                f"{gpus:g}; numbers of two kinds differ in their last digits"
            )
        arithmetic, workers = Arithmetic.present(), self._options.workers
        cpus = cores_for(workers, arithmetic.threads, self._warn) if self._options.address is None else None
        ray = self._stack.enter_context(ray_cluster(self._options.address, cpus))
        count = actors_in(ray.cluster_resources(), workers, arithmetic.threads, gpus)
        if self._options.address is None and device == "cpu":
            check_memory(count, model, space)
        kind = ray.remote(RayWorker).options(num_cpus=arithmetic.threads, num_gpus=gpus)
        packed = ray.put(PackedModel.of(model))
        self._ray, self._circumstances = ray, circumstances(model)
        for _ in range(count):
            actor = kind.remote(packed, space, device, arithmetic, ray.get)
            self._starting[actor.circumstances.remote()] = actor

    def check(self, model: nn.Module, plan: ProbePlan) -> None:
        """Check that the actors have memory for a plan, where they share that of this machine.

        Raises:
            UsageError: if they have not.
        """
        if self._options.address is None and _device_of(model) == "cpu":
            check_states(self.count, model, plan.compared)

    def submit(self, plan: ProbePlan, atlas: Atlas, space: WeightSpace, batch: int) -> tuple[Any, _Task]:
        """Give a task to an idle actor.

        Returns:
            The generator of references to lists of its results, and the task.
        """
        actor, (labels, families) = self.idle.pop(0), _needs(step.position for step in plan.steps)
        points = {label: self._ship(label, lambda v: pack_vector(v, space), atlas.points) for label in labels}
        rays = {name: self._ship(name, lambda f: pack_family(f, space), atlas.families) for name in families}
        stream = actor.evaluate.options(num_returns="streaming").remote(PackedPlan.of(plan), points, rays, batch)
        return stream, _Task(actor, plan)

    def wait(self, streams: Iterable[Any]) -> Any:
        """Wait for the first report of an actor, and return its reference or stream.

        Raises:
            ToolkitError: if no actor starts.
        """
        streams = list(streams)
        timeout = None if streams else _START_SECONDS
        ready, _ = self._ray.wait([*self._starting, *streams], num_returns=1, timeout=timeout)
        if not ready:
            raise ToolkitError(
                f"expected an actor of Ray within {_START_SECONDS / 60:g} minutes, got none: other jobs hold the "
                "cores or GPUs of the cluster; run the same command again later, or ask for fewer --ray-gpus"
            )
        return ready[0]

    def greet(self, reference: Any, busy: int) -> bool:
        """Take an actor that has started; return False if the reference is not that of one that was starting.

        Args:
            reference: The value of ``wait``.
            busy: Number of actors that have tasks.

        Raises:
            UsageError: if the actor does not compute as this process does.
            ToolkitError: if it died, and was the last one.
        """
        if reference not in self._starting:
            return False
        actor = self._starting.pop(reference)
        try:
            theirs = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self.lose(error, busy)
            return True
        mine = self._circumstances
        differing = [f"{key} {theirs[key]} in place of {own}" for key, own in mine.items() if theirs[key] != own]
        if differing:
            raise UsageError(
                f"expected actors of Ray that compute as this process does, one has {', '.join(differing)}; the last "
                "digits of losses would differ: use machines of one kind with the same packages"
            )
        self.idle.append(actor)
        return True

    def receive(self, stream: Any) -> list[ProbeResult] | None:
        """Take the results that a task reports; None at its end.

        Raises:
            ToolkitError: if the task failed for a reason of its own.
            ActorDied: if its actor died.
        """
        errors = self._ray.exceptions
        try:
            results: list[ProbeResult] = self._ray.get(next(stream))
        except StopIteration:
            return None
        except errors.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            if isinstance(cause, ToolkitError):
                raise cause from None
            raise ToolkitError(
                f"expected actors of Ray to evaluate the plan, one failed with {type(cause).__name__}: "
                f"{first_line(cause)}; evaluated probes are kept; does --engine inline fail too?"
            ) from error
        except errors.RayError as error:
            raise ActorDied(_last_line(error)) from error
        return results

    def lose(self, error: BaseException, busy: int) -> None:
        """Go on without an actor.

        Args:
            error: The reason.
            busy: Number of actors that have tasks.

        Raises:
            ToolkitError: if it was the last one.
        """
        left = self.count + busy
        if not left:
            raise ToolkitError(
                f"expected an actor of Ray that lives, all have died, the last of: {_last_line(error)}; evaluated "
                "probes are kept, and the same command goes on from there: do the machines have memory enough?"
            ) from error
        self._warn(f"an actor of Ray died, and its work goes to the {left} left: {_last_line(error)}")

    def _ship(self, name: str, pack: Callable[[Any], Any], held: Mapping[str, Any]) -> Any:
        if name not in self._shipped:
            self._shipped[name] = self._ray.put(pack(held[name]))
        return self._shipped[name]


class ActorDied(Exception):  # noqa: N818 – the engine goes on with the other actors
    """The actor of a task died."""


@dataclass(frozen=True, eq=False)
class RayEngine:
    """Engine that gives a plan to actors piece by piece, and takes back what dead ones leave."""

    actors: RayActors
    model: nn.Module
    space: WeightSpace
    atlas: Atlas
    batch: int = 1
    """Number of windows in a forward pass."""

    def evaluate(self, plan: ProbePlan) -> Generator[ProbeResult, None, None]:
        """Evaluate the probes in the order in which actors report them; the model is not touched."""
        if not plan.steps:
            return
        actors, queue = self.actors, TaskQueue(plan, self.batch)
        actors.start(self.model, self.space)
        actors.check(self.model, plan)
        running: dict[Any, _Task] = {}
        try:
            while queue or running:
                while queue and actors.idle:
                    part = queue.take(actors.count + len(running))
                    stream, task = actors.submit(part, self.atlas, self.space, self.batch)
                    running[stream] = task
                report = actors.wait(running)
                if not actors.greet(report, len(running)):
                    yield from self._report(report, running, queue)
        finally:  # after an error, an actor ends its task before it begins the next one
            actors.idle.extend(task.actor for task in running.values())

    def _report(self, stream: Any, running: dict[Any, _Task], queue: TaskQueue) -> list[ProbeResult]:
        """Take what an actor reports: results, the end of its task, or its death."""
        task = running[stream]
        try:
            results = self.actors.receive(stream)
        except ActorDied as death:
            del running[stream]
            queue.give_back(task.plan.missing(task.done))
            self.actors.lose(death, len(running))
            return []
        if results is None:
            del running[stream]
            self.actors.idle.append(task.actor)
            return []
        task.done.update((result.probe, result) for result in results)
        return results


def _needs(positions: Iterable[Position]) -> tuple[set[str], set[str]]:
    """Return the labels of the points, and the names of the families, that positions are made of."""
    labels: set[str] = set()
    families: set[str] = set()
    for position in positions:
        match position:
            case At(label):
                labels.add(label)
            case OnSegment(a, b) | OnPlane(a, b):
                labels.update((a, b))
            case OnParts(point=point, rest=rest):
                labels.update((point, rest))
            case OnRay(family=family):
                families.add(family)
    return labels - {CENTER}, families


def _device_of(model: nn.Module) -> str:
    """Return the kind of device of a model.

    Raises:
        UsageError: if it lies on several devices.
    """
    devices = {parameter.device for parameter in model.parameters()}
    if len(devices) > 1:
        raise UsageError(
            f"expected a model on one device with --engine ray, got one on {', '.join(sorted(map(str, devices)))}; "
            "use --engine inline"
        )
    return devices.pop().type


def _last_line(error: BaseException) -> str:
    """Return the last line of an error's message: with Ray, the end of a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
