"""The experiments among the options of ``seqrev attention``."""

import numpy as np
import pytest

from tests.helpers import Cli, assert_refused

PRETRAINED = ("attention", "--run", "pretrained", "--out", "map.png")


def test_influence_by_token(cli: Cli) -> None:
    lines = cli(*PRETRAINED, "4", "8", "2", "9", "--influence").out.splitlines()
    assert lines[:2] == ["source  4 8 2 9", "output  9 2 8 4 (right)"]
    assert [line.split()[:2] for line in lines[3:8]] == [["9", "9"], ["2", "2"], ["8", "8"], ["4", "4"], ["<EOS>", "-"]]
    assert lines[-2].startswith("correlation of the attention with the influence: 1.0")
    document = cli(*PRETRAINED, "4", "8", "2", "9", "--influence", "--layer", "1", "--head", "2", "--json").document
    assert np.shape(document["influence"]) == np.shape(document["attention"]) == (5, 4)
    assert document["correlation"] < 0.5
    assert document["correlation_by_row"][-1] is None


def test_patching_by_point(cli: Cli) -> None:
    result = cli(*PRETRAINED, "--patch", "4 8 2 9", "4,8,5,9")
    lines = result.out.splitlines()
    assert lines[0] == "clean    4 8 2 9  ->  9 2 8 4 <EOS>"
    assert lines[1] == "corrupt  4 8 5 9  ->  9 5 8 4 <EOS>"
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in lines[3:-1]}
    assert rows["residual.encoder.1"] == ["1.000", "position 3 (2)"]
    assert rows["residual.decoder.2"] == ["1.000", "target step 2 (2)"]
    assert "decoder.1.1" not in rows  # brings nothing back
    document = cli(*PRETRAINED, "--patch", "4 8 2 9", "4 8 5 9", "--json").document
    assert np.shape(document["maps"]["cross"]["recovery"]) == (8, 5)
    assert np.shape(document["maps"]["encoder"]["recovery"]) == (8, 6)


def test_paths_by_receiver(cli: Cli) -> None:
    sources = ("--patch", "4 8 2 9", "4 8 2 9 1 6")
    lines = cli(*PRETRAINED, *sources, "--path", "cross.1.1").out.splitlines()
    assert lines[2].split() == ["sent", "to", "query", "key", "value"]
    assert [line.split()[0] for line in lines[4:8]] == [f"cross.2.{head}" for head in (1, 2, 3, 4)]
    document = cli(*PRETRAINED, *sources, "--path", "cross.1.1", "--json").document
    assert document["sender"] == "cross.1.1"
    assert np.shape(document["recovery"]) == (9, 3)


def test_the_lens_by_step(cli: Cli) -> None:
    lines = cli(*PRETRAINED, "4", "8", "2", "9", "--lens").out.splitlines()
    assert lines[3].split()[5:7] == ["9", "1.00"]
    assert lines[-2].split()[7] == "feed_forward.decoder.2"
    document = cli(*PRETRAINED, "4", "8", "2", "9", "--lens", "--json").document
    assert [one["token"] for one in document["lens"][-1]] == ["9", "2", "8", "4", "<EOS>"]
    assert len(document["added"]["cross.2.1"]) == 5


def test_ablation_by_group(cli: Cli) -> None:
    arguments = (
        "attention",
        "--run",
        "pretrained",
        "--ablate",
        "cross.2.4",
        "--ablate",
        "cross.1.1, cross.1.2",
        "--how",
        "mean",
    )
    lines = cli(*arguments).out.splitlines()
    assert "ablated to mean" in lines[0]
    assert [line.rsplit(maxsplit=4)[0] for line in lines[2:]] == ["-", "cross.2.4", "cross.1.1, cross.1.2"]
    document = cli(*arguments, "--json").document
    assert [one["without"] for one in document["ablations"]] == [[], ["cross.2.4"], ["cross.1.1", "cross.1.2"]]
    assert document["ablations"][0]["exact_match"] == 1


def test_the_report_scores_the_pictures(cli: Cli) -> None:
    result = cli("attention", "--run", "pretrained", "--report")
    table = result.out.partition("correlation with the influence of the symbols")[2].splitlines()
    assert table[1].split() == ["layer", "head", "attention", "weighted", "by", "value", "rollout"]
    assert [line.split()[:2] for line in table[2:12]] == [[layer, head] for layer in "12" for head in ("all", *"1234")]
    assert float(table[7].split()[2]) > 0.9  # all heads of layer 2
    assert table[12].startswith("gradient x input: ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--influence", "--lens"), "--influence does not go together with --lens"),
        (("--influence", "--report"), "--influence does not go together with --report"),
        (("--lens", "--layer", "1"), "--lens does not go together with --layer or --head"),
        (("4", "--patch", "4 8", "4 9"), "--patch does not go together with a sequence"),
        (("--patch", "4 8", "4 9", "--over-time"), "--patch does not go together with --over-time"),
        (("--ablate", "cross.2.1", "--out", "map.png"), "--ablate does not go together with --out"),
        (("--path", "cross.1.1"), "--path needs --patch"),
        (("--how", "mean"), "--how needs --ablate"),
        (("--patch", "4 8", "4 8"), "same answer to both sources"),
        (("--patch", "4 8", "4 x"), "Try: seqrev attention --patch '4 8 2 9' '4 8 5 9' --run pretrained"),
        (("--patch", "4 8", "4 9", "--path", "cross.2.1"), "no head that has another one after it"),
        (("--ablate", "cross.9"), "'cross.9' is no point of this model"),
        (("--ablate", "cross.1,"), "'' is no point of this model"),
    ],
)
def test_what_makes_no_sense_is_refused(cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    assert_refused(cli("attention", "--run", "pretrained", *arguments), 2, says)
