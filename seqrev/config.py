"""The configuration: one frozen tree, every field documented here and nowhere else.

The README's reference, the help and the error texts are made from these fields. Values come from the defaults, then the
YAML file, then ``--set`` and flags; the result is checked once, and all that is wrong with it is reported at once.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, ValidationError, model_validator

from seqrev.errors import InputError, UsageError, shorten
from seqrev.files import read_regular

LARGEST_FILE = 20_000  # bytes; a configuration has a few hundred
HINT = "the table of all fields in README.md, or configs/small.yaml as an example"
DEEPEST_NESTING = 16  # levels; a configuration has two
MOST_PROBLEMS = 20  # that are told at once


def _not_a_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return value


Count = Annotated[StrictInt, Field(ge=1, le=1_000_000_000)]
HeldOut = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
CountOrZero = Annotated[StrictInt, Field(ge=0, le=1_000_000_000)]
# PyYAML reads `1e-3` as a string; pydantic turns it into the number that was meant.
Number = Annotated[float, BeforeValidator(_not_a_bool), Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, BeforeValidator(_not_a_bool), Field(ge=0, lt=1, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskConfig(_Section):
    """What is to be learned."""

    symbols: Annotated[StrictInt, Field(ge=2, le=1_000_000)] = Field(
        default=10, description="How many symbols there are: 0 to symbols - 1. The vocabulary has three ids more."
    )
    min_length: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = Field(
        default=1, description="Symbols in the shortest sequence."
    )
    max_length: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = Field(
        default=10, description="Symbols in the longest sequence. Lengths are drawn uniformly."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_length > self.max_length:
            raise ValueError(f"min_length is {self.min_length}, more than max_length, which is {self.max_length}")
        return self


class DataConfig(_Section):
    """What it is learned from."""

    train: Count = Field(default=10_000, description="Training sequences in the dataset.")
    validation: HeldOut = Field(default=1_000, description="Validation sequences, all different.")
    test: HeldOut = Field(default=1_000, description="Test sequences, all different.")
    stream: StrictBool = Field(
        default=False, description="Train on fresh samples for ever; the dataset then holds no training split."
    )


class ModelConfig(_Section):
    """The shape of the Transformer."""

    d_model: Annotated[StrictInt, Field(ge=2, le=65_536)] = Field(default=64, description="Width of every layer.")
    heads: Annotated[StrictInt, Field(ge=1, le=1_024)] = Field(
        default=4, description="Attention heads; they share d_model equally."
    )
    encoder_layers: Annotated[StrictInt, Field(ge=1, le=256)] = Field(default=2, description="Layers of the encoder.")
    decoder_layers: Annotated[StrictInt, Field(ge=1, le=256)] = Field(default=2, description="Layers of the decoder.")
    d_ff: Annotated[StrictInt, Field(ge=1, le=1_048_576)] = Field(
        default=256, description="Width inside the feed-forward blocks."
    )
    dropout: Probability = Field(default=0.0, description="Dropout on embeddings and on each block's output.")
    attention_dropout: Probability = Field(default=0.0, description="Dropout on the attention weights.")
    attention_noise: Number = Field(
        default=0.0, description="Standard deviation of noise on the cross-attention scores in training; makes maps crisp."
    )
    query_dropout: Probability = Field(
        default=0.0, description="Dropout on the queries of the cross-attention; no few of their features may decide alone."
    )
    self_query_dropout: Probability = Field(
        default=0.0, description="Dropout on the queries of the self-attention; what it finds may not matter much."
    )
    tie_embeddings: StrictBool = Field(
        default=False, description="One matrix for both embeddings and the output, so that every symbol is learned alike."
    )
    positions: Literal["sinusoidal", "learned", "rotary", "alibi", "relative", "none"] = Field(
        default="sinusoidal",
        description="How a token's place is told: sinusoidal, learned, rotary, alibi, relative or none.",
    )
    source_from: Literal["start", "end"] = Field(
        default="start", description="Where the source positions are counted from."
    )
    random_positions: Annotated[StrictInt, Field(ge=0, le=10_000_000)] = Field(
        default=0, description="Spread positions over so many, at random in training (Ruoss et al. 2023); 0: do not."
    )
    length_scaling: StrictBool = Field(
        default=False, description="Scale the queries of the cross-attention by log(n + 1) / log(20), n source tokens."
    )
    position_base: Annotated[float, BeforeValidator(_not_a_bool), Field(gt=1, allow_inf_nan=False)] = Field(
        default=10_000.0, description="Sets the slowest of the sinusoids, or of the rotary turns: 2π times this, almost."
    )
    max_positions: Annotated[StrictInt, Field(ge=4, le=10_000_000)] = Field(
        default=4096, description="Longest sequence that is accepted, <BOS> and <EOS> included."
    )

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.d_model % (2 * self.heads):
            raise ValueError(
                f"d_model is {self.d_model}, and must be a multiple of twice the number of heads ({self.heads})"
            )
        return self


class TrainConfig(_Section):
    """How it is learned."""

    steps: Count = Field(default=2_000, description="Training steps, one batch each.")
    batch_size: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = Field(default=64, description="Sequences in a batch.")
    lr: Number = Field(default=1.5e-3, description="Highest learning rate of Adam, reached after the warm-up.")
    warmup: CountOrZero = Field(default=50, description="Steps over which the learning rate rises from zero.")
    clip: Number = Field(default=1.0, description="Longest gradient (L2 norm over all weights); 0: no clipping.")
    validate_every: Count = Field(default=250, description="Steps between validations; each also saves a checkpoint.")
    log_every: Count = Field(default=10, description="Steps between the training losses in metrics.jsonl.")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Of the matrix products of a training step: float32, or bfloat16, which is for GPUs."
    )
    compile: StrictBool = Field(
        default=False, description="Compile the training step (torch.compile): for GPUs and large models; takes minutes."
    )
    threads: Annotated[StrictInt, Field(ge=0, le=1_024)] = Field(
        default=1, description="CPU threads of PyTorch (they change the last bit of a result); 0: PyTorch's choice."
    )


class Config(_Section):
    """Everything that decides what a run does."""

    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] = Field(
        default=0, description="Decides the dataset, the initial weights, the order of the batches and the dropout."
    )
    task: TaskConfig = TaskConfig()
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.task.max_length + 2 > self.model.max_positions:
            raise ValueError(
                f"task.max_length is {self.task.max_length}, and with <BOS> and <EOS> that is more than "
                f"model.max_positions, which is {self.model.max_positions}"
            )
        if 0 < self.model.random_positions < self.task.max_length + 2:
            raise ValueError(
                f"model.random_positions is {self.model.random_positions}, and must be 0, or at least task.max_length and "
                f"two more ({self.task.max_length + 2})"
            )
        if self.model.random_positions and self.model.positions == "learned":
            raise ValueError("model.random_positions does not go with learned positions")
        return self


def load_config(
    path: Path | None = None, overrides: Sequence[str] = (), seed: int | None = None, follow: bool = True
) -> Config:
    """Read a YAML file (None: only defaults), apply ``--set`` assignments and a seed, check it all.

    ``follow``: whether the file may be a link.

    Raises:
        InputError: the file cannot be read, or is not YAML.
        UsageError: an unknown field, or a value that its field does not take; the message names every one of them.
    """
    tree = {} if path is None else _read_yaml(path, follow)
    for assignment in overrides:
        _assign(tree, assignment)
    if seed is not None:
        tree["seed"] = seed
    names = [str(path)] * (path is not None) + ["--set"] * bool(overrides)
    return parse_config(tree, " with ".join(names) or "the configuration")


def parse_config(tree: Mapping[str, Any], name: str) -> Config:
    """Check a tree of plain values; ``name`` says in the error where it came from."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems = [_explain(dict(detail)) for detail in details[:MOST_PROBLEMS]]
        problems += [f"and {len(details) - MOST_PROBLEMS:,} more"] * (len(details) > MOST_PROBLEMS)
        raise UsageError(f"{name} is not valid: " + "; ".join(problems) + ".", HINT) from None


def to_yaml(config: Config) -> str:
    """The whole resolved configuration, in the order of its fields; ``load_config`` reads it back unchanged."""
    return yaml.safe_dump(config.model_dump(), sort_keys=False)


def fields(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """``(dotted name, default, description)`` of every field."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, f"{prefix}{name}.")
        else:
            default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
            yield prefix + name, default, field.description or ""


def _read_yaml(path: Path, follow: bool) -> dict[str, Any]:
    hint = "seqrev train --config configs/small.yaml"
    try:
        tree = _parse_yaml(read_regular(path, LARGEST_FILE, "a YAML file", hint, follow).decode())
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text; a YAML file was expected.", hint) from None
    except _UnwantedError as error:
        raise InputError(f"{path} {error}, which no configuration needs.", hint) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where is not None else ""
        raise InputError(f"{path} is not valid YAML{line}.", hint) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise UsageError(f"{path} must hold named fields, such as `seed: 0`.", hint)
    return tree


class _UnwantedError(ValueError):
    """YAML, but not of a kind that a configuration needs."""


def _parse_yaml(text: str) -> Any:
    """Read YAML, but refuse aliases (a few lines of them unfold to gigabytes), tags, and nesting that no configuration has.

    Raises:
        yaml.YAMLError: the text is not YAML.
        ValueError: it is one of these, or holds a date that does not exist.
        OverflowError: it holds a number in base 60 (``1:30:00.5``) that is too large.
    """
    if len(text) > LARGEST_FILE:
        raise _UnwantedError(f"has more than {LARGEST_FILE:,} characters")
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):  # lazy: what is refused is not read to its end
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise _UnwantedError("uses YAML aliases (*name)")
        if getattr(event, "tag", None) is not None:
            raise _UnwantedError("uses YAML tags (!name)")
        if depth > DEEPEST_NESTING:
            raise _UnwantedError(f"is nested more than {DEEPEST_NESTING} levels deep")
    return yaml.safe_load(text)


def _assign(tree: dict[str, Any], assignment: str) -> None:
    """Put one ``dotted.name=value`` into the tree; the value is read as YAML, so ``3``, ``true`` and ``1e-3`` are typed."""
    name, equals, text = assignment.partition("=")
    if not equals:
        raise UsageError(f"--set {shorten(assignment, 60)} has no value; NAME=VALUE was expected.", "--set train.lr=3e-4")
    try:
        value = _parse_yaml(text)
    except (yaml.YAMLError, ValueError, OverflowError):
        raise UsageError(f"--set {shorten(assignment, 60)}: the value is not valid YAML.", "--set train.lr=3e-4") from None
    *sections, leaf = name.strip().split(".")
    for section in sections:
        below = tree.setdefault(section, {})
        if not isinstance(below, dict):
            raise UsageError(
                f"--set {shorten(assignment, 60)}: {shorten(section)[1:-1]} is a value, not a section.",
                "--set train.lr=3e-4",
            )
        tree = below
    tree[leaf] = value


def _explain(detail: dict[str, Any]) -> str:
    """One pydantic error as a phrase that begins with the dotted name of the field."""
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"there is no field {shorten(name, 60)[1:-1]}{_did_you_mean(name)}"
    if detail["type"] == "invalid_key":
        return f"{shorten(detail['input'], 60)} is not the name of a field"
    if detail["type"] == "value_error":
        return f"{name + ': ' if name else ''}{detail['ctx']['error']}"
    message = detail["msg"].removeprefix("Input should be ")
    return f"{name} is {shorten(detail['input'], 40)}, and should be {message}"


def _did_you_mean(name: str) -> str:
    known: Iterable[str] = [field for field, _, _ in fields()]
    leaf = name.rsplit(".", 1)[-1]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    close += [field for field in known if field.rsplit(".", 1)[-1] == leaf and field not in close]
    return f" (did you mean {' or '.join(close)}?)" if close else ""
