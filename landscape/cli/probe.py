"""``landscape probe``: from a model's name to the interactive radial plot."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from landscape.cli.options import (
    NUMBERS,
    OUTPUT,
    ActOrderOption,
    AlphasOption,
    BitWidthsOption,
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
    FamilyOption,
    GranularityOption,
    InputsOption,
    JsonOption,
    LambdaCountOption,
    ModelOption,
    OutputOption,
    PairsOption,
    PresetOption,
    RatesOption,
    RefinementsOption,
    RevisionOption,
    RtnCandidateOption,
    ScalesOption,
    SeedOption,
    SeqLenOption,
    StoreOption,
    SymmetricOption,
    TestWindowsOption,
    TrueSequentialOption,
    UnfoldGaugeOption,
    WindowsOption,
)


def probe(
    model: ModelOption = "opt-nano",
    exclude: ExcludeOption = "",
    revision: RevisionOption = None,
    bits: BitWidthsOption = "8,4,2",
    directions: Annotated[int, typer.Option("--directions", "-d", min=1, help="Random directions from w.")] = 8,
    family: FamilyOption = "sphere",
    pairs: PairsOption = False,
    methods: Annotated[
        str,
        typer.Option(help="Some of rtn, gptq, awq, signround, qaft, qaft-lsq (scales learn too), qaft-from-gptq."),
    ] = "rtn,gptq,qaft",
    scale: ScalesOption = "exact",
    granularity: GranularityOption = "tensor",
    symmetric: SymmetricOption = True,
    point: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="A point that another tool made of this model: a .gguf file, or a folder of safetensors (plain, GPTQ, "
            "AWQ, AutoRound, compressed-tensors, FP8). May be given several times.",
        ),
    ] = None,
    unfold_gauge: UnfoldGaugeOption = "nearest",
    data: DataOption = None,
    preset: PresetOption = "quick",
    windows: WindowsOption = None,
    test_windows: TestWindowsOption = None,
    seq_len: SeqLenOption = None,
    lambdas: Annotated[
        str,
        typer.Option(help="ℓ2 distances from w to probe: auto, or a comma-separated list.", rich_help_panel=NUMBERS),
    ] = "auto",
    lambda_count: LambdaCountOption = None,
    plane: Annotated[
        bool,
        typer.Option(
            "--plane",
            help="Draw the plane through w, GPTQ and QAFT too: 676 evaluations per grid (13 × 13 on 4 windows).",
        ),
    ] = False,
    alphas: AlphasOption = None,
    refinements: RefinementsOption = None,
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
    """Probe the loss landscape around a model's weights and their quantized versions.

    Makes the quantized weights (RTN, GPTQ, QAFT), evaluates the loss along random directions and along the segments
    between the points, estimates the radius R of the attractive basin, and writes one interactive page. Everything is
    cached: a second run evaluates only what is new.

    **Examples**

        landscape probe

        landscape probe --model opt-125m --bits 2 --directions 32

        landscape probe --model smollm2-135m --bits 8,4,2 --directions 4 --data path/to/wikitext-2

        landscape probe --scale exact,absmax --bits 2 --json

        landscape probe --bits 3,2 --directions 4 --plane

        landscape probe --model smollm2-135m --methods rtn,awq --granularity channel --point q4=model.Q4_K_M.gguf
    """
    from landscape.cli.failures import reported

    with reported(debug):
        from landscape.cli.console import ConsoleProgress, page_path, print_result
        from landscape.cli.parsing import bit_widths, external_points, floats, gptq_options, request_preset, words

        numbers = request_preset(
            preset,
            windows=windows,
            test_windows=test_windows,
            seq_len=seq_len,
            lambda_count=lambda_count,
            alphas=alphas,
            refinements=refinements,
            calibration_windows=calibration_windows,
            qaft_examples=qaft_examples,
            qaft_epochs=qaft_epochs,
            qaft_rates=qaft_rates,
        )
        from landscape.report.survey.page import write_page
        from landscape.survey.probe import probe as run
        from landscape.survey.request import SurveyRequest
        from quant.cache import check_writable

        request = SurveyRequest(
            model=model,
            exclude=words(exclude),
            revision=revision,
            bits=bit_widths(bits, "--bits"),
            methods=words(methods),
            scales=words(scale),
            granularities=words(granularity),
            symmetric=symmetric,
            gptq=gptq_options(gptq_inputs, true_sequential, act_order, rtn_candidate),
            external=external_points(point or (), unfold_gauge),
            data=data,
            directions=directions,
            family=family,
            pairs=pairs,
            preset=numbers,
            lambdas=None if lambdas == "auto" else floats(lambdas, "--lambdas"),
            plane=plane,
            seed=seed,
            dtype=dtype,
            device=device,
            store=store,
            data_revision=data_revision,
            bos=bos,
        )
        check_writable(output, OUTPUT)
        with ConsoleProgress() as progress:
            found = run(request, progress)
        page = page_path(output, model)
        write_page(found, page)
        print_result(request, found, page, as_json=json, stream=sys.stdout)
