"""``landscape advise``: which way to quantize, before anything expensive is done."""

from __future__ import annotations

from landscape.cli.options import (
    BitWidthsOption,
    BosOption,
    DataOption,
    DataRevisionOption,
    DebugOption,
    DeviceOption,
    DtypeOption,
    ExcludeOption,
    GranularityOption,
    JsonOption,
    LimitOption,
    ModelOption,
    PresetOption,
    RevisionOption,
    ScalesOption,
    SeedOption,
    SeqLenOption,
    StoreOption,
    TwoWindowsOption,
)


def advise(
    model: ModelOption = "opt-nano",
    exclude: ExcludeOption = "",
    revision: RevisionOption = None,
    bits: BitWidthsOption = "8,4,3,2",
    limit: LimitOption = "ppl+5%",
    scale: ScalesOption = "exact",
    granularity: GranularityOption = "tensor",
    data: DataOption = None,
    preset: PresetOption = "standard",
    windows: TwoWindowsOption = None,
    seq_len: SeqLenOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    store: StoreOption = None,
    data_revision: DataRevisionOption = None,
    bos: BosOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say for each bit width whether RTN is enough, GPTQ should do, QAFT is needed, or another grid.

    Measures the basin's radius, rounds to nearest, and follows the lines along Δw; nothing is calibrated or trained.

    **Examples**

        landscape advise

        landscape advise --model smollm2-135m --bits 8,4,3,2 --limit ppl+5% --data path/to/wikitext-2
    """
    from landscape.cli.failures import reported

    with reported(debug):
        from landscape.advice.advise import advise
        from landscape.advice.request import AdviceRequest
        from landscape.cli.console import ConsoleProgress, print_advice
        from landscape.cli.parsing import bit_widths, request_preset, words
        from landscape.estimators.loss_limit import Limit

        numbers = request_preset(preset, windows=windows, seq_len=seq_len)
        request = AdviceRequest(
            model=model,
            exclude=words(exclude),
            revision=revision,
            bits=bit_widths(bits, "--bits"),
            scales=words(scale),
            granularities=words(granularity),
            limit=Limit.parse(limit),
            data=data,
            preset=numbers,
            seed=seed,
            dtype=dtype,
            device=device,
            store=store,
            data_revision=data_revision,
            bos=bos,
        )
        with ConsoleProgress() as progress:
            advised = advise(request, progress)
        print_advice(advised, as_json=json)
