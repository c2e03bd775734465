"""The configuration: one frozen tree, from which the reference (docs/configuration.md) and the error texts are made."""

import json
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any, Literal, Self, SupportsIndex

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, ValidationError, model_validator

from seqrev.config_errors import MisfitError, assigned, explain, mending, not_valid
from seqrev.config_files import CONFIGS, SWEEPS, find_config, read_tree
from seqrev.errors import UsageError, command_line
from seqrev.task import TIMES_AS_LONG, RuleName, answer_length


def _not_a_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return value


Count = Annotated[StrictInt, Field(ge=1, le=1_000_000_000)]
Million = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
# PyYAML reads `1e-3` as a string; pydantic turns it into the number that was meant.
Number = Annotated[float, BeforeValidator(_not_a_bool), Field(allow_inf_nan=False)]
Probability = Annotated[Number, Field(ge=0, lt=1)]
Seed = Annotated[StrictInt, Field(ge=0, lt=2**63)]
PositiveShare = Annotated[Number, Field(gt=0, le=1)]


def _field(default: Any, description: str, **limits: Any) -> Any:
    return Field(default=default, description=description, **limits)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Only what is not the default: the whole is a line of 1,500 characters."""
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        return ((name, value) for name, value in super().__repr_args__() if value != defaults.get(name or ""))


class TaskConfig(_Section):
    """What is to be learned."""

    rule: RuleName = _field(
        "reverse",
        "The answer: reverse, copy, sort, rotate (by one), swap (neighbours), odd_first, repeat, pairs (as given).",
    )
    symbols: StrictInt = _field(10, "How many: 0 to symbols - 1; the vocabulary has three more.", ge=2, le=1_000_000)
    min_length: Million = _field(1, "Symbols in the shortest sequence.")
    max_length: Million = _field(10, "Symbols in the longest sequence. Lengths are drawn uniformly.")
    max_answer: Million | None = _field(None, "Of pairs, symbols in the longest answer; null: what the rule gives.")

    @property
    def longest_answer(self) -> int:
        """Symbols in the longest answer."""
        return self.max_answer or answer_length(self.max_length, self.rule)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_length > self.max_length:
            problem = f"min_length is {self.min_length}, more than max_length, which is {self.max_length}"
            raise MisfitError(problem, f"task.max_length={self.min_length}")
        return self


class DataConfig(_Section):
    """What it is learned from."""

    train: Count = _field(10_000, "Training sequences in the dataset.")
    validation: Million = _field(1_000, "Validation sequences, all different.")
    test: Million = _field(1_000, "Test sequences, all different.")
    stream: StrictBool = _field(False, "Train on fresh samples only; the dataset then has no training split.")


class ModelConfig(_Section):
    """The shape of the Transformer."""

    d_model: StrictInt = _field(64, "Width of every layer.", ge=2, le=65_536)
    heads: StrictInt = _field(4, "Attention heads; they share d_model equally.", ge=1, le=1_024)
    encoder_layers: StrictInt = _field(2, "Layers of the encoder; 0: the embedded source as it is.", ge=0, le=256)
    decoder_layers: StrictInt = _field(2, "Layers of the decoder.", ge=1, le=256)
    d_ff: StrictInt = _field(256, "Width inside the feed-forward blocks.", ge=1, le=1_048_576)
    dropout: Probability = _field(0.0, "Dropout on embeddings and on each block's output.")
    attention_dropout: Probability = _field(0.0, "Dropout on the attention weights.")
    attention_noise: Number = _field(
        0.0, "Standard deviation of noise on the cross-attention scores in training; makes maps crisp.", ge=0
    )
    query_dropout: Probability = _field(0.0, "Dropout on cross-attention queries, so that no few features decide alone.")
    self_query_dropout: Probability = _field(0.0, "Dropout on self-attention queries, so that the model relies on it less.")
    tie_embeddings: StrictBool = _field(False, "One matrix for both embeddings and the output layer.")
    positions: Literal["sinusoidal", "learned", "rotary", "alibi", "relative", "none"] = _field(
        "sinusoidal", "How positions enter the model: sinusoidal, learned, rotary, alibi, relative or none."
    )
    source_from: Literal["start", "end", "both"] = _field(
        "start", "Where the source positions are counted from; both: cross-attention finds a token by either count."
    )
    random_positions: StrictInt = _field(
        0, "Spread positions over this many, at random in training (Ruoss et al. 2023); 0: do not.", ge=0, le=10_000_000
    )
    length_scaling: StrictBool = _field(False, "Scale cross-attention queries by log(n + 1) / log(20), n source tokens.")
    position_base: Number = _field(10_000.0, "Longest wavelength of sinusoids or rotations: almost 2π times this.", gt=1)
    max_positions: StrictInt = _field(4096, "Longest sequence accepted, <BOS> and <EOS> included.", ge=4, le=10_000_000)

    @property
    def addresses(self) -> int:
        """By how many counts cross-attention finds a source token."""
        return 2 if self.source_from == "both" else 1

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        times = 2 * self.addresses
        if more := -self.d_model % (times * self.heads):
            why = " with source_from: both" if self.addresses > 1 else ""
            problem = f"d_model is {self.d_model}; a multiple of {times} times heads ({self.heads}) is needed{why}"
            raise MisfitError(problem, f"model.d_model={self.d_model + more}")
        if self.source_from == "both" and self.positions != "rotary":
            problem = f"source_from: both goes with rotary positions only, not with {self.positions}"
            raise MisfitError(problem, "model.positions=rotary")
        return self


class TrainConfig(_Section):
    """How it is learned."""

    steps: Count = _field(2_000, "Training steps, one batch each.")
    batch_size: Million = _field(64, "Sequences in a batch.")
    group_by_length: StrictBool = _field(
        False, "Put sequences of like length into a batch, for long ones; else every batch mixes all lengths."
    )
    optimizer: Literal["adam", "adamw"] = _field("adam", "Adam, or AdamW, which is Adam with weight decay.")
    lr: Number = _field(1.5e-3, "Highest learning rate of Adam, reached after the warm-up.", ge=0)
    weight_decay: Number = _field(
        0.0, "With adamw: each step takes lr times this off every weight; norms and biases are not decayed.", ge=0
    )
    warmup_steps: StrictInt = _field(50, "Steps over which the learning rate rises from zero.", ge=0, le=1_000_000_000)
    schedule: Literal["linear", "cosine", "constant"] = _field("linear", "How it falls then: linear, cosine, constant.")
    noise_warmup_steps: StrictInt = _field(0, "Steps in which attention_noise rises from zero.", ge=0, le=1_000_000_000)
    max_grad_norm: Number = _field(1.0, "Gradients are clipped to this L2 norm over all weights; 0: no clipping.", ge=0)
    ema_decay: Probability = _field(
        0.0, "Validated and saved is a running average of the weights, which keeps this share a step; 0: no average."
    )
    target_noise: Probability = _field(
        0.0, "Share of the symbols that the decoder reads in training that are replaced by random ones."
    )
    validate_every: Count = _field(250, "Steps between validations; each also saves a checkpoint.")
    stop_at: PositiveShare | None = _field(None, "End at the first validation with this exact match; null: take all steps.")
    log_every: Count = _field(10, "Steps between the training losses in metrics.jsonl.")
    precision: Literal["float32", "bfloat16"] = _field(
        "float32", "Of the matrix products of a training step: float32, or bfloat16, which is for GPUs."
    )
    compile: StrictBool = _field(False, "Compile training steps (torch.compile): for GPUs and large models; takes minutes.")
    threads: StrictInt = _field(
        1,
        "CPU threads of the training and of all that is done with the run (they change the last bit); 0: PyTorch's choice.",
        ge=0,
        le=1_024,
    )

    @model_validator(mode="after")
    def _decays(self) -> Self:
        if self.weight_decay and self.optimizer == "adam":
            problem = f"weight_decay is {self.weight_decay:g}, which goes with optimizer=adamw, and not with adam"
            raise MisfitError(problem, "train.optimizer=adamw")
        return self


class Config(_Section):
    """Everything that decides what a run does."""

    seed: Seed = _field(0, "Decides dataset, initial weights, order of the batches and dropout.")
    task: TaskConfig = TaskConfig()
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        longest = max(self.task.max_length, self.task.longest_answer) + 2
        most, spread = self.model.max_positions, self.model.random_positions
        if longest > most:
            problem = f"the longest sequence and two more ({longest}) is more than model.max_positions ({most})"
            raise MisfitError(problem, f"model.max_positions={longest}")
        if 0 < spread < longest:
            problem = f"model.random_positions ({spread}) is less than the longest sequence and two more ({longest})"
            raise MisfitError(problem, f"model.random_positions={longest}")
        if spread and (self.model.positions == "learned" or self.task.rule in ("pairs", *TIMES_AS_LONG)):
            problem = "model.random_positions does not go with learned positions, nor with repeat or pairs"
            raise MisfitError(problem, "model.random_positions=0")
        if self.data.stream and self.task.rule == "pairs":
            problem = "data.stream does not go with task.rule=pairs, of which there are only those given"
            raise MisfitError(problem, "data.stream=false")
        return self


def load_config(
    path: str | Path | Config | None = None, overrides: Sequence[str] = (), seed: SupportsIndex | None = None
) -> Config:
    """Read a YAML file (None: only defaults), apply ``--set`` assignments and a seed, check it all.

    ``path``: or the name of a configuration that is part of the package: small, fast, extrapolate, base; or one that was
    read before, which stays as it is.

    Raises:
        InputError: the file cannot be read, or is not YAML.
        UsageError: an unknown field, or a value that its field does not take; the message names every one of them.
    """
    if isinstance(path, Config):
        tree, path = path.model_dump(), None
    else:
        tree = {} if path is None else _read(path)
    overrides = [overrides] if isinstance(overrides, str) else overrides
    names = [str(path)] * (path is not None) + ["--set"] * bool(overrides)
    if seed is not None:
        whole = isinstance(seed, Integral) and not isinstance(seed, bool)
        overrides = [*overrides, f"seed={int(seed) if whole else seed!r}"]  # also one of NumPy's
    return parse_config(tree, " with ".join(names) or "the configuration", overrides)


def _read(path: str | Path) -> dict[str, Any]:
    """The tree of a configuration, where it is not one of a sweep."""
    is_sweep = find_config(path, SWEEPS) != Path(path)
    tree = {} if is_sweep else read_tree(find_config(path), CONFIGS)
    if is_sweep or {"base", "variants"} <= tree.keys():
        raise UsageError(f"{path} is a sweep, of several configurations; one was expected.", command_line("sweep", path))
    return tree


def parse_config(tree: Mapping[str, Any], name: str, overrides: Sequence[str] = ()) -> Config:
    """Check a tree of plain values, with ``--set`` assignments; ``name`` says in the error where it came from."""
    defaults = {field: default for field, default, _ in fields()}
    try:
        return Config.model_validate(assigned(tree, overrides))
    except ValidationError as error:
        hint = mending(tree, overrides, Config.model_validate, defaults)
        raise not_valid(name, explain(error, list(defaults)), hint) from None
    except UsageError as error:
        raise UsageError(str(error), mending(tree, overrides, Config.model_validate, defaults)) from None


def to_yaml(config: Config) -> str:
    """The whole resolved configuration, in the order of its fields; ``load_config`` reads it back unchanged."""
    return yaml.safe_dump(config.model_dump(), sort_keys=False)


def fields(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """``(dotted name, default, description)`` of every field."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, f"{prefix}{name}.")
        else:
            plain = field.default is None or isinstance(field.default, bool)  # else JSON would put quotes around text
            yield prefix + name, json.dumps(field.default) if plain else str(field.default), field.description or ""
