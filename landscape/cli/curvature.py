"""``landscape curvature``: the Hessian at a model's weights against the basin around them."""

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
    JsonOption,
    LengthOption,
    ModelOption,
    PrecisionOption,
    RevisionOption,
    SeedOption,
    SplitOption,
    StoreOption,
)


def curvature(
    model: ModelOption = "opt-nano",
    exclude: ExcludeOption = "",
    revision: RevisionOption = None,
    directions: Annotated[int, typer.Option(help="Random directions that Tr H is averaged over.")] = 8,
    windows: Annotated[int, typer.Option(help="Windows of text that it is averaged over.")] = 4,
    top: Annotated[bool, typer.Option(help="Find the top eigenvalue too, by Lanczos: some 20 products.")] = True,
    precision: PrecisionOption = 0.05,
    data: DataOption = None,
    split: SplitOption = "validation",
    seq_len: LengthOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    store: StoreOption = None,
    data_revision: DataRevisionOption = None,
    bos: BosOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure the curvature at a model's weights: Tr H, the top eigenvalue, and how anharmonic the basin is.

    Tr H comes from products with the Hessian (Hutchinson) and, beside it, from losses at ±λ. With ReLU, as in OPT, the
    two differ: its kinks bend the loss, and no product sees them. Were the loss quadratic up to the rim, the basin
    would reach to R_quadratic; R/R_quadratic above 1 says that it rises more slowly than that farther out, below 1
    faster.

    A product costs about ten forward passes of a window. Memory beside the model: 4 float32 vectors of D numbers, 15
    more for the top eigenvalue (`--no-top`), and a window's activations, twice derived (`--seq-len` sets how many): for
    smollm2-135m 4.1 GB in all at 128 tokens and 5.1 GB at 256, and 6.4 GB more for the top eigenvalue. R is measured as
    by `landscape radius`, and cached with it; products are not cached. Needs float32.

    **Examples**

        landscape curvature

        landscape curvature --model smollm2-135m --data path/to/wikitext-2 --seq-len 128 --windows 2 --no-top
    """
    from landscape.cli.failures import reported

    with reported(debug):
        from landscape.cli.console import ConsoleProgress, print_curvature
        from landscape.cli.parsing import words
        from landscape.curvature.anharmonicity import measure_curvature
        from landscape.curvature.request import CurvatureRequest
        from landscape.radius import RadiusRequest

        radius = RadiusRequest(
            model=model,
            exclude=words(exclude),
            revision=revision,
            data=data,
            split=split,
            seq_len=seq_len,
            precision=precision,
            seed=seed,
            dtype=dtype,
            device=device,
            store=store,
            data_revision=data_revision,
            bos=bos,
        )
        request = CurvatureRequest(radius, directions=directions, windows=windows, top=top)
        with ConsoleProgress() as progress:
            curved = measure_curvature(request, progress)
        print_curvature(curved, as_json=json)
