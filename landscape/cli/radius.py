"""``landscape radius``: R alone, as precise as asked for, by few evaluations."""

from __future__ import annotations

from typing import Annotated

import typer

from landscape.cli.options import (
    BosOption,
    DataOption,
    DataRevisionOption,
    DebugOption,
    DeviceOption,
    DtypeOption,
    ExcludeOption,
    FamilyOption,
    JsonOption,
    LengthOption,
    ModelOption,
    PairsOption,
    PrecisionOption,
    RevisionOption,
    SeedOption,
    SplitOption,
    StoreOption,
)


def radius(
    model: ModelOption = "opt-nano",
    exclude: ExcludeOption = "",
    revision: RevisionOption = None,
    precision: PrecisionOption = 0.05,
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop after about so long all the same.  [default: never]", show_default=False)
    ] = None,
    data: DataOption = None,
    split: SplitOption = "validation",
    seq_len: LengthOption = None,
    family: FamilyOption = "sphere",
    pairs: PairsOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    store: StoreOption = None,
    data_revision: DataRevisionOption = None,
    bos: BosOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure the radius R of the basin around a model's weights, and nothing else.

    Evaluates the loss at two neighbouring distances around R, on as many random directions and windows of text as the
    interval of R asks for. Everything is cached, for this command and, at the same window length,
    for `landscape curvature`, `advise` and `anatomy`.

    **Examples**

        landscape radius

        landscape radius --model smollm2-135m --data path/to/wikitext-2 --precision 0.05 --max-minutes 10
    """
    from landscape.cli.failures import reported

    with reported(debug):
        from landscape.cli.console import ConsoleProgress, print_radius
        from landscape.cli.parsing import words
        from landscape.radius import RadiusRequest, measure_radius

        request = RadiusRequest(
            model=model,
            exclude=words(exclude),
            revision=revision,
            data=data,
            split=split,
            seq_len=seq_len,
            precision=precision,
            minutes=max_minutes,
            family=family,
            pairs=pairs,
            seed=seed,
            dtype=dtype,
            device=device,
            store=store,
            data_revision=data_revision,
            bos=bos,
        )
        with ConsoleProgress() as progress:
            measured = measure_radius(request, progress)
        print_radius(request, measured, as_json=json)
