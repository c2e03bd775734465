"""The options of ``seqrev attention`` that are experiments: influence, patching, the residual stream, ablation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from typer import Option

from seqrev.cli.console import Console
from seqrev.cli.options import parse_symbols, refuse_together
from seqrev.errors import UsageError, command_line
from seqrev.system.text import shorten

if TYPE_CHECKING:
    from seqrev.api.reverser import Reverser
    from seqrev.interpret.agreement import AgreementReport
    from seqrev.interpret.patching import Patching, PathPatching

How = Annotated[
    Literal["zero", "mean", "resample"],
    Option(metavar="NAME", help="What --ablate puts in the place of a part: zero, mean or resample."),
]
Influence = Annotated[bool, Option("--influence", help="Change each symbol of the source: which tokens does it change?")]
Lens = Annotated[bool, Option("--lens", help="What would be emitted after each layer, and which parts say so.")]
Ablate = Annotated[
    list[str] | None,
    Option(metavar="POINTS", help="Errors without cross.2.1, or without cross.2.1,cross.2.2 together. May be repeated."),
]
Patch = Annotated[
    tuple[str, str] | None, Option(metavar="CLEAN CORRUPT", help='E.g. "4 8 2 9" "4 8 5 9": what brings the answer back?')
]
Path_ = Annotated[str | None, Option("--path", metavar="HEAD", help="With --patch: only what this head sends, cross.1.1.")]
EXAMPLE = 'seqrev attention --patch "4 8 2 9" "4 8 5 9"'
SHOWN = 0.05  # recovery, of the points that are printed


class Experiment(NamedTuple):
    """What was asked for; at most one of them."""

    influence: bool
    lens: bool
    patch: tuple[str, str] | None
    path: str | None
    ablate: list[str] | None
    how: Literal["zero", "mean", "resample"]

    def check(self, others: dict[str, object], sequence: object, out: object, map_: object) -> bool:
        """Whether there is one; ``others`` are options that do not go together with any.

        What else was given: a ``sequence``, the picture's name, and a layer or a head (``map_``).

        Raises:
            UsageError: more than one, or an option that is of no use.
        """
        hint = "seqrev attention --help"
        named: dict[str, object] = {"--influence": self.influence, "--lens": self.lens, "--patch": self.patch}
        named["--ablate"] = self.ablate
        given = {name: value for name, value in named.items() if value}
        refuse_together(hint, given)
        of_no_use = dict(others)
        if not self.influence:
            of_no_use["--layer or --head"] = map_ or None
        if self.patch or self.ablate:
            of_no_use["a sequence"] = sequence or None
        if self.ablate:
            of_no_use["--out"] = out
        for name in given:
            for other, value in of_no_use.items():
                refuse_together(hint, {name: True, other: value})
        if self.path and not self.patch:
            raise UsageError(
                "--path needs --patch, which says between which sources.", f"{EXAMPLE} --path {shorten(self.path)}"
            )
        if self.how != "zero" and not self.ablate:
            hint = command_line("attention", "--ablate", "cross.2.1", "--how", self.how)
            raise UsageError("--how needs --ablate, which says what it replaces.", hint)
        return bool(given)


def run(
    console: Console, model: "Reverser", experiment: Experiment, sequence: list[str] | None, options: dict[str, Any]
) -> None:
    """Do it, print what was found, and draw it; ``options``: ``layer``, ``head``, ``out`` and ``theme``."""
    from seqrev.plotting.export import check_format
    from seqrev.workflows.evaluate import run_of

    if options["out"] is None:
        run_of(model)
    else:
        check_format(options["out"])
    symbols = parse_symbols(sequence, model) if sequence else None
    if experiment.ablate:
        _ablation(console, model, experiment.ablate, experiment.how)
    elif experiment.patch:
        clean, corrupt = (parse_symbols([one], model, EXAMPLE) for one in experiment.patch)
        _patching(console, model, (clean, corrupt), experiment.path, options)
    elif experiment.lens:
        _lens(console, model, symbols, options)
    else:
        _influence(console, model, symbols, options)


def print_agreement(console: Console, agreement: "AgreementReport") -> None:
    """How well each picture of the cross-attention predicts what happens when a symbol is changed."""
    console.data(f"correlation with the influence of the symbols, over {agreement.sequences:,} sequences:")
    columns = {"layer": "", "head": "", "attention": ".3f", "weighted by value": ".3f", "rollout": ".3f"}
    rows = [[one.layer, one.head or "all", one.attention, one.value_weighted, one.rollout] for one in agreement.heads]
    console.table(columns, rows)
    console.data(f"gradient x input: {agreement.gradient_times_input:.3f}")


def _influence(console: Console, model: "Reverser", symbols: list[int] | None, options: dict[str, Any]) -> None:
    from seqrev.workflows.causes import influence, save

    found = influence(model, symbols, options["layer"], options["head"])
    picture = found.attention(options["layer"], options["head"])
    source, emitted, overall = found.seen.source, found.seen.emitted_tokens, found.agreement(picture)
    rows = found.by_row(picture)
    console.data(f"source  {_words(source)}")
    console.data(f"output  {_words(found.seen.answer.output)} ({found.seen.verdict})")
    lost = found.effect.max(axis=1).tolist()
    changed = [source[column] for column in found.effect.argmax(axis=1).tolist()]
    columns = {"emitted": "", "depends most on": "", "probability lost": ".3f", "correlation": ".3f"}
    by_token = zip(
        emitted,
        (str(one) if most >= SHOWN else "-" for one, most in zip(changed, lost, strict=True)),
        lost,
        rows,
        strict=True,
    )
    console.table(columns, by_token, ["correlation"])
    console.data(f"correlation of the attention with the influence: {'-' if overall != overall else f'{overall:.3f}'}")
    document = {
        "run": str(model.run),
        "source": source,
        "emitted": emitted,
        "influence": found.effect.tolist(),
        "attention": picture.tolist(),
        "correlation": _known(overall),
        "correlation_by_row": [_known(row) for row in rows],
    }
    with console.picture(document):
        document["out"] = str(save(found, model, **options))


def _patching(
    console: Console,
    model: "Reverser",
    sources: tuple[list[int], list[int]],
    sender: str | None,
    options: dict[str, Any],
) -> None:
    from seqrev.workflows.causes import patching, path_patching, save

    found: Patching | PathPatching
    if sender is not None:
        found = path_patching(model, *sources, sender)
        details: dict[str, Any] = {"sender": sender, "receivers": found.receivers, "recovery": found.recovery.tolist()}
        columns = {"sent to": "", "query": ".3f", "key": ".3f", "value": ".3f"}
        rows: list[list[Any]] = [[name, *values] for name, values in zip(found.receivers, details["recovery"], strict=True)]
    else:
        found = patching(model, *sources)
        columns, rows, details = {"point": "", "brings back": ".3f", "most of it at": ""}, [], {"maps": {}}
        source = ["<BOS>", *map(str, sources[0]), "<EOS>"]
        for kind, one in found.maps.items():
            tokens = source if "encoder" in kind else found.emitted
            whole = one.whole.tolist()
            details["maps"][kind] = {"points": one.points, "whole": whole, "recovery": one.recovery.tolist()}
            best = one.recovery.argmax(axis=1).tolist()
            where = [
                f"{'position' if tokens is source else 'target step'} {place + (tokens is not source)} ({tokens[place]})"
                for place in best
            ]
            rows += [list(row) for row in zip(one.points, whole, where, strict=True) if abs(row[1]) >= SHOWN]
    console.data(f"clean    {_words(sources[0])}  ->  {_words(found.emitted)}")
    console.data(f"corrupt  {_words(sources[1])}  ->  {_words(found.instead)}")
    console.table(columns, rows, list(columns)[:1:-1])
    runs = {"clean": sources[0], "corrupt": sources[1], "emitted": found.emitted, "instead": found.instead}
    document = {"run": str(model.run), **runs, **details}
    with console.picture(document):
        document["out"] = str(save(found, model, **options))


def _lens(console: Console, model: "Reverser", symbols: list[int] | None, options: dict[str, Any]) -> None:
    from seqrev.workflows.causes import residual_stream, save

    reading = residual_stream(model, symbols)
    layers, added = reading.most_probable(), reading.of_emitted()
    emitted = reading.seen.emitted_tokens
    console.data(f"source  {_words(reading.seen.source)}")
    console.data(f"output  {_words(reading.seen.answer.output)} ({reading.seen.verdict})")
    names = [f"after layer {layer}" for layer in range(len(layers))]
    table = [
        [
            token,
            *(f"{best} {share:.2f}" for best, share in (layer[step] for layer in layers)),
            _most(reading.parts, added[:, step].tolist()),
        ]
        for step, token in enumerate(emitted)
    ]
    parts_column = "adds most to its logit"
    console.table({"emitted": "", **dict.fromkeys(names, ""), parts_column: "<"}, table, [parts_column, *names[:-1]])
    lens = [[{"token": token, "probability": share} for token, share in layer] for layer in layers]
    parts = dict(zip(reading.parts, added.tolist(), strict=True))
    answer = {"source": reading.seen.source, "emitted": emitted}
    document = {"run": str(model.run), **answer, "lens": lens, "added": parts}
    with console.picture(document):
        document["out"] = str(save(reading, model, **options))


def _ablation(console: Console, model: "Reverser", groups: list[str], how: Literal["zero", "mean", "resample"]) -> None:
    from seqrev.workflows.causes import ablation

    names = [group.replace(" ", "").split(",") for group in groups]
    whole, *without = ablation(model, names, how)
    named = zip(("-", *map(", ".join, names)), (whole, *without), strict=True)
    columns = {"without": "<", "exact match": ".4f", "early": "", "over": "", "wrong": ""}
    console.data(f"{model.run}: {whole.sequences:,} test sequences, teacher-forced; ablated to {how}")
    table = ([name, one.exact_match, *one.errors.values()] for name, one in named)
    console.table(columns, table, [["early", "over", "wrong"]])
    rows = [{"without": points, **one.to_dict()} for points, one in zip(([], *names), (whole, *without), strict=True)]
    console.document({"run": str(model.run), "how": how, "ablations": rows})


def _most(parts: Sequence[str], added: Sequence[float]) -> str:
    """The three parts that add most, as ``cross.2.1 +2.7``."""
    best = sorted(zip(added, parts, strict=True), reverse=True)[:3]
    return ", ".join(f"{part} {value:+.1f}" for value, part in best)


def _words(tokens: Sequence[object]) -> str:
    return " ".join(map(str, tokens))


def _known(value: float) -> float | None:
    return None if value != value else value  # NaN is not itself
