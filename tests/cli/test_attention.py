import itertools
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from seqrev.runs.folders import Run
from tests.helpers import Cli, assert_refused

ROOT = Path(__file__).parent.parent.parent
MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}


def test_the_document_has_every_score_and_the_picture(cli: Cli, own_run: Run) -> None:
    result = cli("attention", "4", "2", "1", "--json")
    assert result.code == 0
    document = result.document
    assert (document["run"], document["source"]) == ("runs/001", [4, 2, 1])
    assert all(0 <= symbol < 5 for symbol in document["output"])
    scores = document["anti_diagonal"]
    assert [(score["layer"], score["head"]) for score in scores] == [(1, None), (1, 1), (1, 2)]
    assert all(0 <= score["mass"] <= 1 and 0 <= score["hit"] <= 1 for score in scores)
    assert scores[0]["mass"] == pytest.approx((scores[1]["mass"] + scores[2]["mass"]) / 2, abs=1e-5)
    assert document["out"] == "runs/001/attention/001.png"
    assert (own_run.path / "attention" / "001.png").read_bytes().startswith(MAGIC["png"])


def test_pictures_are_numbered_and_never_overwritten(cli: Cli, own_run: Run) -> None:
    assert cli("attention", "4", "2", "1").code == 0
    first = (own_run.path / "attention" / "001.png").read_bytes()
    assert cli("attention", "0", "0").out.endswith("picture: runs/001/attention/002.png\n")
    assert (own_run.path / "attention" / "001.png").read_bytes() == first
    assert sorted(path.name for path in (own_run.path / "attention").iterdir()) == ["001.png", "002.png"]


@pytest.mark.parametrize("suffix", MAGIC)
def test_the_suffix_decides_the_format(cli: Cli, own_run: Run, suffix: str) -> None:
    result = cli("attention", "4", "2", "1", "--out", f"map.{suffix}", "--json")
    assert result.document["out"] == f"map.{suffix}"
    assert Path(f"map.{suffix}").read_bytes().startswith(MAGIC[suffix])
    assert not (own_run.path / "attention").exists()


def test_left_out_the_sequence_is_one_of_the_longest_of_the_test_split(cli: Cli, own_run: Run) -> None:
    source = cli("attention", "--run", own_run, "--json").document["source"]
    assert len(source) == 4
    assert f'"src": {source}' in (own_run.data / "test.jsonl").read_text()


def test_people_get_the_answer_and_a_table(cli: Cli, own_run: Run) -> None:
    result = cli("attention", "4", "2", "1", "--run", own_run)
    lines = result.out.splitlines()
    assert lines[0] == "source  4 2 1"
    assert re.fullmatch(r"output  [0-4 ]* ?\((right|wrong)\)", lines[1])
    assert lines[2].split() == ["layer", "head", "mass", "hit"]
    assert [line.split()[:2] for line in lines[3:6]] == [["1", "mean"], ["1", "1"], ["1", "2"]]
    assert ("right" in lines[1]) == (lines[1].split("  ")[1].startswith("1 2 4 ("))
    assert "\x1b" not in result.out + result.err


def test_arrays_hold_the_maps_with_their_labels(cli: Cli, own_run: Run) -> None:
    result = cli("attention", "4", "2", "1", "--run", own_run, "--arrays", "maps.npz", "--json")
    with np.load("maps.npz", allow_pickle=False) as arrays:
        emitted = arrays["emitted_tokens"].tolist()
        assert arrays["source_tokens"].tolist() == ["<BOS>", "4", "2", "1", "<EOS>"]
        assert arrays["target_tokens"].tolist() == ["<BOS>", *emitted[:-1]]
        output = list(map(str, result.document["output"]))
        assert emitted in ([*output, "<EOS>"], output)
        assert arrays["cross"].shape == (1, 2, len(emitted), 5)
        assert arrays["encoder"].shape == (1, 2, 5, 5)
        assert arrays["decoder"].shape == (1, 2, len(emitted), len(emitted))
        for name in ("cross", "encoder", "decoder"):
            assert np.allclose(arrays[name].sum(axis=-1), 1, atol=1e-5)
        positions = [3, 2, 1][: len(output)]
        mass = np.mean([arrays["cross"][0, :, row, position].mean() for row, position in enumerate(positions)])
        assert result.document["anti_diagonal"][0]["mass"] == pytest.approx(float(mass), abs=1e-5)


def test_one_head_is_another_picture(cli: Cli, own_run: Run) -> None:
    choices = {
        "all": (),
        "layer": ("--layer", "1"),
        "one": ("--head", "1"),
        "two": ("--head", "2", "--layer", "1"),
        "bare": ("--no-guide",),
        "encoder": ("--type", "encoder"),
        "decoder": ("--type", "decoder"),
        "cross": ("--type", "cross"),
    }
    for name, options in choices.items():
        assert cli("attention", "4", "2", "1", "--run", own_run, "--out", f"{name}.png", *options).code == 0
    drawn = {name: Path(f"{name}.png").read_bytes() for name in choices}
    assert drawn["all"] == drawn["layer"] == drawn["cross"]  # this model has one layer
    assert len(set(drawn.values())) == len(choices) - 2


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--layer", "2"), 2, "There is no layer 2 of cross-attention; this model has layers 1 to 1"),
        (("--layer", "0"), 2, "There is no layer 0"),
        (("--layer", "-1"), 2, "There is no layer -1"),
        (("--head", "3"), 2, "There is no head 3 of cross-attention; this model has heads 1 to 2"),
        (("--head", "0"), 2, "There is no head 0"),
        (("--head", "two"), 2, "--head"),
        (("--out", "map.jpg"), 2, "map.jpg must end in .png, .svg, .pdf"),
        (("--out", "map"), 2, "map must end in .png, .svg, .pdf"),
        (("--out", "none/map.png"), 3, "none/map.png cannot be written"),
        (("--out", "file/map.png"), 3, "file/map.png cannot be written"),
        (("--out", "folder.png"), 3, "folder.png cannot be written"),
        (("--out", "/proc/map.png"), 3, "/proc/map.png cannot be written"),
        (("--out", "map.png", "--arrays", "maps.npy"), 2, "maps.npy must end in .npz"),
        (("--out", "map.png", "--arrays", "none/maps.npz"), 3, "none/maps.npz cannot be written"),
        (("--arrays", "maps.npy"), 2, "maps.npy must end in .npz"),
        (("5",), 2, "5 is not in the vocabulary"),
        (("x",), 2, "'x' is not a whole number"),
        (("",), 2, "empty"),
        (("1",) * 31, 2, "31 symbols"),
        (("--beam", "0"), 2, "--beam"),
        (("--type", "self"), 2, "--type"),
        (("--type", "encoder", "--layer", "2"), 2, "There is no layer 2 of encoder self-attention"),
        (("--report",), 2, "--report does not go together with a sequence"),
        (("--over-time",), 2, "--over-time does not go together with a sequence"),
    ],
)
def test_bad_input_is_refused(cli: Cli, own_run: Run, arguments: tuple[str, ...], code: int, says: str) -> None:
    Path("file").write_text("")
    Path("folder.png").mkdir()
    words = () if not arguments[0].startswith("-") else ("4", "2", "1")
    result = cli("attention", *words, *arguments)
    if "cannot be written" in says:  # which is found when the answer has been told
        assert result.out.startswith("source  4 2 1\n")
        result = result._replace(out="")
    assert_refused(result, code, says)
    if code == 2:  # wrong usage is found before anything is written
        assert not (own_run.path / "attention").exists()
        assert not Path("map.png").exists()
    assert not list(Path.cwd().rglob("*.tmp"))


def test_a_negative_symbol_is_called_by_its_name(cli: Cli, own_run: Run) -> None:
    assert_refused(cli("attention", "--run", own_run, "--", "1", "-2"), 2, "-2 is not in the vocabulary")


def test_self_attention_has_no_anti_diagonal_to_print(cli: Cli, own_run: Run) -> None:
    out = cli("attention", "4", "2", "1", "--run", own_run, "--type", "decoder").out
    assert [line.split()[0] for line in out.splitlines()] == ["source", "output", "picture:"]
    assert cli("attention", "4", "2", "1", "--run", own_run, "--type", "decoder", "--json").document["type"] == "decoder"


# --- how it was learned -----------------------------------------------------------------------------------------------


def test_what_was_learned_is_an_animation_with_its_numbers(cli: Cli, own_run: Run) -> None:
    result = cli("attention", "--run", own_run, "--over-time", "--json")
    document = result.document
    steps = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 250]
    assert [snapshot["step"] for snapshot in document["snapshots"]] == steps
    assert len(document["source"]) == 4
    assert f'"src": {document["source"]}' in (own_run.data / "validation.jsonl").read_text()
    assert document["snapshots"][-1]["loss"] < document["snapshots"][0]["loss"]
    assert set(document) == {"run", "source", "snapshots", "out"}
    assert {"step", "loss", "layer", "head", "mass", "hit"} == document["snapshots"][0].keys()
    assert document["out"] == f"{own_run}/attention/001.gif"
    with Image.open(document["out"]) as animation:
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(animation)]
    assert 2 <= len(frames) <= len(steps)
    seen = [frame[80:-40] for frame in frames]  # without the title and the numbers below
    assert all(np.abs(one.astype(int) - other).max() > 10 for one, other in itertools.pairwise(seen[:-1]))  # none is still


@pytest.mark.parametrize("suffix", MAGIC)
def test_what_was_learned_can_be_a_strip(cli: Cli, own_run: Run, suffix: str) -> None:
    result = cli("attention", "--run", own_run, "--over-time", "--out", f"learned.{suffix}", "--head", "1", "--no-guide")
    assert result.code == 0
    assert Path(f"learned.{suffix}").read_bytes().startswith(MAGIC[suffix])
    lines = result.out.splitlines()
    assert lines[1].split() == ["step", "loss", "mass", "hit"]
    assert lines[-2].split()[0] == "250"


def test_a_run_without_snapshots_is_refused(cli: Cli, own_run: Run) -> None:
    shutil.rmtree(own_run.snapshots)
    assert_refused(cli("attention", "--run", own_run, "--over-time"), 3, "attention that was saved in training")
    own_run.snapshots.mkdir()
    assert_refused(cli("attention", "--run", own_run, "--over-time"), 3, "There are no snapshots in")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--over-time", "--out", "learned.jpg"), "must end in .gif"),
        (("--over-time", "--layer", "2"), "There is no layer 2 of cross-attention"),
        (("--over-time", "--type", "encoder"), "--over-time does not go together with --type"),
        (("--over-time", "--report"), "--over-time does not go together with --report"),
        (("--over-time", "--ascii"), "--over-time does not go together with --ascii"),
        (("--report", "--layer", "0"), "--report does not go together with --layer"),
        (("--report", "--out", "a.png"), "--report does not go together with --out"),
        (("--report", "--no-guide"), "--report does not go together with --no-guide"),
        (("--report", "--beam", "2"), "--report does not go together with --beam"),
        (("--report", "--arrays", "a.npz"), "--report does not go together with --arrays"),
    ],
)
def test_options_that_would_be_ignored_are_refused(cli: Cli, own_run: Run, options: tuple[str, ...], says: str) -> None:
    assert_refused(cli("attention", "--run", own_run, *options), 2, says)
    assert not (own_run.path / "attention").exists()


# --- what the heads do ------------------------------------------------------------------------------------------------


def test_the_report_is_a_table_and_a_document(cli: Cli, own_run: Run) -> None:
    document = cli("attention", "--run", own_run, "--report", "--json").document
    assert (document["run"], document["step"]) == (str(own_run), 250)
    assert (document["sequences"], document["answered"]) == (30, 30)
    assert 0 <= document["exact_match"] <= 1
    assert [(head["type"], head["layer"], head["head"]) for head in document["heads"]] == [
        (kind, 1, head) for kind in ("cross", "encoder", "decoder") for head in (1, 2)
    ]
    result = cli("attention", "--run", own_run, "--report")
    head, first, *_, last, end = result.out.partition("\ncorrelation")[0].splitlines()[1:]
    assert head.split()[:5] == ["type", "layer", "head", "mass", "hit"]
    assert first.split()[:3] == ["cross", "1", "1"]
    assert last.split()[:5] == ["decoder", "1", "2", "-", "-"]
    assert f"{document['heads'][0]['mass']:.3f}" == first.split()[3]
    assert f"{document['heads'][0]['exact_match_without']:.3f}" == first.split()[-1]
    assert end.endswith(f"{document['exact_match']:.3f}")
    assert not (own_run.path / "attention").exists()
