"""``landscape quantize``: one quantized version of a model, as a folder that transformers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landscape.cli.options import (
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
    ModelOption,
    PresetOption,
    RatesOption,
    RevisionOption,
    RtnCandidateOption,
    ScaleOption,
    SeedOption,
    SeqLenOption,
    StoreOption,
    SymmetricOption,
    TrueSequentialOption,
)


def quantize(
    export: Annotated[Path, typer.Option("--export", "-o", help="New folder to write the quantized model to.")],
    model: ModelOption = "opt-nano",
    exclude: ExcludeOption = "",
    revision: RevisionOption = None,
    bits: BitWidthOption = 4,
    method: Annotated[
        str,
        typer.Option(help="rtn, gptq, awq, signround, qaft, qaft-lsq (scales learn too) or qaft-from-gptq."),
    ] = "gptq",
    scale: ScaleOption = "exact",
    granularity: GranularityOption = "tensor",
    symmetric: SymmetricOption = True,
    data: DataOption = None,
    preset: PresetOption = "quick",
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
    debug: DebugOption = False,
) -> None:
    """Quantize a model and write it as a folder that transformers loads.

    The weights are fake-quantized: floats that lie on the grid, so that any tool can measure them. Their codes and
    scales lie beside them, in `codes/`.

    **Examples**

        landscape quantize --bits 4 --method gptq --export opt-nano-int4

        landscape quantize --model smollm2-135m --bits 4 --method rtn --scale absmax --granularity group:128 --export q4
    """
    from landscape.cli.failures import reported

    with reported(debug):
        from landscape.cli.console import ConsoleProgress, print_point
        from landscape.cli.parsing import gptq_options, request_preset, words

        numbers = request_preset(
            preset,
            seq_len=seq_len,
            calibration_windows=calibration_windows,
            qaft_examples=qaft_examples,
            qaft_epochs=qaft_epochs,
            qaft_rates=qaft_rates,
        )
        from landscape.quantize import QuantizeRequest
        from landscape.quantize import quantize as run
        from landscape.session.point_specs import scheme_of, wanted_point
        from quant.checkpoints.export import check_target, export_point

        options = gptq_options(gptq_inputs, true_sequential, act_order, rtn_candidate)
        wanted = wanted_point(method, scheme_of(bits, scale, granularity, symmetric))
        request = QuantizeRequest(
            model=model,
            exclude=words(exclude),
            revision=revision,
            data=data,
            wanted=wanted,
            gptq=options,
            preset=numbers,
            seed=seed,
            dtype=dtype,
            device=device,
            store=store,
            data_revision=data_revision,
            bos=bos,
        )
        check_target(export)
        with ConsoleProgress() as progress:
            checkpoint, point = run(request, progress)
            progress.stage(f"writing {export}")
            export_point(checkpoint, point, export)
        print_point(checkpoint, point, export)
