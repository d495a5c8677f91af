"""Decide how many actors there will be, and check that cores and memory are there for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from landscape.probing.plan import Window
from quant.center import copy_bytes
from quant.errors import UsageError
from quant.fidelity import state_bytes
from quant.memory import MemoryNeed, check_room
from quant.processor import usable_cores
from quant.space import WeightSpace

_FLOAT = 4  # bytes of a direction's numbers
_FEWER = "ask for fewer --ray-workers"


def cores_for(workers: int | None, threads: int, warn: Callable[[str], None]) -> int:
    """Return the number of cores that a cluster on this machine is started with.

    Ray counts the cores of the machine, of which a batch job may have a few.

    Args:
        workers: Number of actors; None for as many as there is room for.
        threads: Threads of each.
        warn: Takes one line if the actors will have to share cores.
    """
    usable = usable_cores()
    cores = usable if workers is None else workers * threads
    if cores > usable:
        warn(
            f"{workers} actors of {threads} threads share {usable} cores, which slows them; ask for fewer "
            "--ray-workers, or begin a new --store with OMP_NUM_THREADS=1"
        )
    return cores


def actors_in(resources: Mapping[str, float], workers: int | None, threads: int, gpus: float) -> int:
    """Return the number of actors.

    Args:
        resources: Resources of the cluster, in Ray's words.
        workers: Number asked for; None for as many as there is room for.
        threads: Cores of each.
        gpus: GPUs of each.

    Raises:
        UsageError: if there is no room for them.
    """
    each = {"CPU": float(threads), "GPU": gpus}
    room = int(min(resources.get(kind, 0.0) // amount for kind, amount in each.items() if amount))
    if not 0 < (workers or 1) <= room:
        raise UsageError(
            f"expected room in the cluster for {workers or 1} actors of {threads} threads and {gpus:g} GPUs each, "
            f"there is room for {room}; ask for fewer --ray-workers, or begin a new --store with OMP_NUM_THREADS=1"
        )
    return workers or room


def check_memory(count: int, model: nn.Module, space: WeightSpace) -> None:
    """Check that the models of actors on this machine fit in its memory beside the driver's.

    Raises:
        UsageError: if they do not; the message has the numbers.
    """
    need = {
        "models": count * sum(weight.numel() * weight.element_size() for weight in model.parameters()),
        "their pristine matrices": count * copy_bytes(model, space),
        "a direction each": count * _FLOAT * space.dimension,
    }
    check_room(MemoryNeed(need, {}), (), f"{count} actors", _FEWER)


def check_states(count: int, model: nn.Module, windows: Sequence[Window]) -> None:
    """Check that the predictions at w that each actor on this machine keeps fit in its memory too.

    Args:
        count: Number of actors, whose models are there already.
        model: The model.
        windows: The windows that a plan compares.

    Raises:
        UsageError: if they do not; the message has the numbers.
    """
    if windows:
        states = count * len(windows) * state_bytes(model, windows[0].tokens[None])
        need = {f"predictions at w of {len(windows)} windows each": states}
        check_room(MemoryNeed(need, {}), (), f"{count} actors", _FEWER)
