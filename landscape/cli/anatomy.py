"""``landscape anatomy``: what Δw of one point is made of, and which part of it, in which tensors, costs the loss."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landscape.cli.options import (
    OUTPUT,
    ActOrderOption,
    BitWidthOption,
    BosOption,
    CalibrationOption,
    DataOption,
    DataRevisionOption,
    DebugOption,
    DeviceOption,
    DtypeOption,
    EpochsOption,
    ExamplesOption,
    ExcludeOption,
    GranularityOption,
    InputsOption,
    JsonOption,
    LimitOption,
    ModelOption,
    OutputOption,
    PresetOption,
    RatesOption,
    RevisionOption,
    RtnCandidateOption,
    ScaleOption,
    SeedOption,
    SeqLenOption,
    StoreOption,
    SymmetricOption,
    TestWindowsOption,
    TrueSequentialOption,
    ValidationOption,
)


def anatomy(
    model: ModelOption = "opt-nano",
    exclude: ExcludeOption = "",
    revision: RevisionOption = None,
    bits: BitWidthOption = 8,
    method: Annotated[
        str, typer.Option(help="rtn, gptq, signround, qaft, qaft-lsq (scales learn too) or qaft-from-gptq.")
    ] = "rtn",
    scale: ScaleOption = "exact",
    granularity: GranularityOption = "tensor",
    symmetric: SymmetricOption = True,
    directions: Annotated[int, typer.Option("--directions", "-d", min=2, help="Random directions of each family.")] = 4,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Some of block, type, tensor: whose Δw is put on w alone.  [default: block,type; all on small models]",
            show_default=False,
        ),
    ] = None,
    layer_radii: Annotated[
        bool | None,
        typer.Option(
            "--layer-radii/--no-layer-radii",
            help="Measure the radius R_l of each block and type; of each tensor of a small model if given.  "
            "[default: of blocks and types of small models]",
            show_default=False,
        ),
    ] = None,
    plan_bits: Annotated[
        str | None,
        typer.Option(
            help="Bit widths of a mixed-precision plan under --limit, such as 8,6,4,3.  [default: no plan]",
            show_default=False,
        ),
    ] = None,
    limit: LimitOption = "ppl+5%",
    data: DataOption = None,
    preset: PresetOption = "quick",
    windows: ValidationOption = None,
    test_windows: TestWindowsOption = None,
    seq_len: SeqLenOption = None,
    calibration_windows: CalibrationOption = None,
    qaft_examples: ExamplesOption = None,
    qaft_epochs: EpochsOption = None,
    qaft_rates: RatesOption = None,
    gptq_inputs: InputsOption = "quantized",
    true_sequential: TrueSequentialOption = False,
    act_order: ActOrderOption = False,
    rtn_candidate: RtnCandidateOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    store: StoreOption = None,
    data_revision: DataRevisionOption = None,
    bos: BosOption = False,
    output: OutputOption = Path("landscape-report"),
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Take one quantized point apart: what its Δw is made of, and which of it costs the loss.

    Measures how much of the basin the length of Δw, its allocation over the tensors, its shrinkage and its clipping
    spend; the loss of each part, block, type and tensor alone; and how much is left when the clipping of the costliest
    tensors is undone. With `--plan-bits` it makes and measures a mixed-precision plan. Everything is cached.

    **Examples**

        landscape anatomy --bits 3

        landscape anatomy --model smollm2-135m --bits 8 --data path/to/wikitext-2 --windows 2 --directions 2

        landscape anatomy --bits 4 --plan-bits 8,6,4,3 --limit ppl+5%
    """
    from landscape.cli.failures import reported

    with reported(debug):
        from landscape.cli.anatomy_console import print_anatomy
        from landscape.cli.console import ConsoleProgress, page_path
        from landscape.cli.parsing import bit_widths, gptq_options, request_preset, words

        numbers = request_preset(
            preset,
            windows=windows,
            test_windows=test_windows,
            seq_len=seq_len,
            calibration_windows=calibration_windows,
            qaft_examples=qaft_examples,
            qaft_epochs=qaft_epochs,
            qaft_rates=qaft_rates,
        )
        from landscape.anatomy.dissect import dissect
        from landscape.anatomy.request import AnatomyRequest, groupings_of
        from landscape.estimators.loss_limit import Limit
        from landscape.report.anatomy.page import write_anatomy_page
        from landscape.session.point_specs import scheme_of, wanted_point
        from quant.cache import check_writable

        request = AnatomyRequest(
            wanted=wanted_point(method, scheme_of(bits, scale, granularity, symmetric)),
            model=model,
            exclude=words(exclude),
            revision=revision,
            data=data,
            gptq=gptq_options(gptq_inputs, true_sequential, act_order, rtn_candidate),
            preset=numbers,
            directions=directions,
            groupings=None if groups is None else groupings_of(words(groups)),
            layer_radii=layer_radii,
            plan_bits=() if plan_bits is None else bit_widths(plan_bits, "--plan-bits"),
            limit=Limit.parse(limit),
            seed=seed,
            dtype=dtype,
            device=device,
            store=store,
            data_revision=data_revision,
            bos=bos,
        )
        check_writable(output, OUTPUT)
        with ConsoleProgress() as progress:
            found = dissect(request, progress)
        page = page_path(output, f"{model.rstrip('/')}-{found.point}-anatomy")
        write_anatomy_page(found, page)
        print_anatomy(request, found, page, as_json=json)
