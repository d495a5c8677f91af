"""Answer ``landscape cache ls|show|verify|export|gc``."""

from __future__ import annotations

from typing import Annotated

import typer

from landscape.cli.errors import FAILED
from landscape.cli.export_command import export
from landscape.cli.own_command import (
    DebugOption,
    JsonOption,
    StoreOption,
    cache_root,
    reported,
    say,
    say_json,
    say_tables,
)

cache_app = typer.Typer(
    name="cache",
    help="List, check and tidy the cache: what was probed, made, fetched and kept.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@cache_app.command("ls")
@reported
def cache_ls(store: StoreOption = None, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """List what the cache holds: models, points, runs, tokens, converted files, with sizes and ages.

    **Examples**

        landscape cache ls
    """
    import time

    from landscape.cache.inventory import list_units
    from landscape.report.cache import cache_json, cache_table
    from landscape.session.in_use import marks

    root, now = cache_root(store), time.time()
    units, used = list_units(root), marks(root, now)
    if as_json:
        say_json(cache_json(root, units, used))
    elif units:
        say_tables([cache_table(root, units, used, now)])
    else:
        say([f"{root}: empty"])


@cache_app.command("show")
@reported
def cache_show(
    name: Annotated[str, typer.Argument(help="Name of a store, its beginning, or the name of its model.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show the store of one model: probes by kind, points, layer rows, runs with their commands, settings, versions.

    **Examples**

        landscape cache show opt-nano
    """
    import time

    from landscape.cache.contents import find_store, read_store
    from landscape.report.cache import contents_json, contents_lines, contents_tables

    contents = read_store(find_store(name, cache_root(store)))
    if as_json:
        say_json(contents_json(contents))
    else:
        say(contents_lines(contents))
        say_tables(contents_tables(contents, time.time()))


@cache_app.command("verify")
@reported
def cache_verify(
    name: Annotated[str | None, typer.Argument(help="A store to check alone, as for `show`.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Set damaged files aside; they are made again.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Check every file of the cache against its hash. Exits with 1 if one is damaged.

    **Examples**

        landscape cache verify

        landscape cache verify opt-nano --repair
    """
    from landscape.cache.contents import find_store
    from landscape.cache.verify import verify
    from landscape.report.cache import verification_json, verification_lines

    root = cache_root(store)
    done = verify(root, find_store(name, root).name if name is not None else None, repair)
    if as_json:
        say_json(verification_json(done))
    else:
        say(verification_lines(done))
    return FAILED if done.damaged else 0


cache_app.command("export")(export)


@cache_app.command("gc")
@reported
def cache_gc(
    keep: Annotated[str | None, typer.Option("--keep", metavar="SIZE", help="Size to keep, such as 20GB.")] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="Remove what was not used for so long: 30d, 12h.")
    ] = None,
    stores: Annotated[
        bool, typer.Option("--stores", help="Remove whole stores too, with their probes, if points are not enough.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Remove the least recently used part of the cache, until it keeps to its limits.

    Points, tokens, converted and downloaded files go first, then runs, unless the size cannot be kept all the same; all
    but the runs are made again when a command needs them. Probes stay and do not count, unless `--stores` is given.
    Nothing is touched that a running command uses, that was used within the last hour, or that this tool did not
    write. Leftovers of killed processes go too, those in the system's temporary folder included: at once where the
    process is seen to be gone, else after a day.

    **Examples**

        landscape cache gc --keep 20GB --dry-run

        landscape cache gc --older-than 30d
    """
    from landscape.cache.cache_limits import CacheLimits, parse_age, parse_size
    from landscape.cache.collect import collect
    from landscape.report.cache import collection_json, collection_lines
    from quant.errors import StoreError, UsageError

    if keep is None and older_than is None:
        raise UsageError("expected a limit, got none; add --keep 20GB or --older-than 30d")
    limits = CacheLimits(
        None if keep is None else parse_size(keep, "--keep"),
        None if older_than is None else parse_age(older_than, "--older-than"),
        stores,
    )
    done = collect(cache_root(store), limits, dry_run)
    if as_json:
        say_json(collection_json(done, dry_run))
    else:
        say(collection_lines(done, limits, dry_run))
    if done.failed:
        raise StoreError(f"expected to remove all of it, but {len(done.failed)} could not be removed; ask their owner")
