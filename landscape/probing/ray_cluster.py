"""Start a Ray cluster on this machine, or join one, without a word on the terminal."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from quant.errors import ToolkitError, UsageError, first_line

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the behaviour to come; without it Ray warns of the change
}


def check_ray(address: str | None) -> None:
    """Check that Ray is installed and that the address is one of a cluster.

    Raises:
        UsageError: if not.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("expected Ray with --engine ray, it is not installed; pip install 'quant-landscape[ray]'")
    if address is not None and "://" in address:
        raise UsageError(
            f"expected host:port of the head node, or auto, in --ray-address, got {address!r}; run the command on a "
            "node of the cluster"
        )


@contextmanager
def ray_cluster(address: str | None, cpus: int | None) -> Iterator[Any]:
    """Yield the module ``ray``, connected to a cluster, and leave it at the end; one that was started here ends.

    A connection that the process has already is used and kept.

    Args:
        address: Address of a cluster; None starts one on this machine.
        cpus: Number of cores of a cluster that is started; None for those of the machine.

    Raises:
        UsageError: if there is no cluster at the address.
        ToolkitError: if no cluster can be started.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with _same_handlers():
        import ray
        from ray._private import worker

    if ray.is_initialized():
        yield ray
        return
    # Ray prints the death of an actor on stdout, where --json goes; the engine warns of it instead.
    printed = getattr(worker, "_worker_logs_enabled", True)
    worker._worker_logs_enabled = False
    own: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False} if address is None else {}
    try:
        with _same_handlers():
            _connect(ray, address, own)
        yield ray
    finally:
        ray.shutdown()
        worker._worker_logs_enabled = printed


@contextmanager
def _same_handlers() -> Iterator[None]:
    """Give the handlers of signals back at the end: Ray puts one of its own in the place of that of SIGTERM."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _connect(ray: Any, address: str | None, own: dict[str, Any]) -> None:
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError, OSError) as error:
        if address is None:
            raise ToolkitError(
                f"expected to start Ray on this machine, got: {first_line(error)}; use --engine inline"
            ) from error
        raise UsageError(
            f"expected a Ray cluster at --ray-address {address}, got: {first_line(error)}; start one with `ray start "
            "--head`, or leave --ray-address out"
        ) from error
