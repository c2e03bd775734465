"""The safety code with one of its precautions taken out: a named test must notice.

Each mutant is a change of the text in a copy of the package. Its old text must be there exactly once, so that a mutant that
the code has outgrown is a failure as well.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.conftest import child_environment
from tests.torture.common import Outcome, Size, scratch
from tests.torture.server import hear_signals

ROOT = Path(__file__).parent.parent.parent


class Mutant(NamedTuple):
    """A precaution that is taken out."""

    name: str
    file: str
    old: str
    new: str
    tests: str
    """Those that must notice: their file, and the functions."""


MUTANTS = [
    Mutant(
        "an error of the writing thread is not asked for",
        "data.py",
        "            writing.result()\n            size",
        "            writing.exception()\n            size",
        "test_data.py::test_no_write_of_a_dataset_fails_unnoticed",
    ),
    Mutant(
        "no fsync of a file",
        "files.py",
        "                os.fsync(file.fileno())\n",
        "",
        "test_files.py::test_content_is_on_disk_before_the_file_appears",
    ),
    Mutant(
        "no fsync of a folder",
        "files.py",
        "            sync_folder(path.parent)\n",
        "",
        "test_files.py::test_content_is_on_disk_before_the_file_appears",
    ),
    Mutant(
        "written in place",
        "files.py",
        "    temporary = temporary_name(path)\n",
        "    temporary = path\n",
        "test_files.py::test_a_reader_never_meets_half_a_file",
    ),
    Mutant(
        "built through a link",
        "files.py",
        "            temporary.unlink(missing_ok=True)  # or it would be written through a link that somebody put there\n"
        '            with temporary.open("xb") as file:',
        '            with temporary.open("wb") as file:',
        "test_files.py::test_a_file_is_not_built_through_a_link_that_somebody_put_there",
    ),
    Mutant(
        "links followed",
        "files.py",
        "if not follow and path.is_symlink():",
        "if False:",
        "test_files.py::test_what_is_no_regular_file_of_the_run_is_refused_at_once",
    ),
    Mutant(
        "devices read",
        "files.py",
        "if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):",
        "if False:",
        "test_files.py::test_what_is_no_regular_file_of_the_run_is_refused_at_once",
    ),
    Mutant(
        "no limit of size",
        "files.py",
        "if too_large or len(content) > largest:",
        "if False:",
        "test_files.py::test_what_is_no_json_object_is_refused",
    ),
    Mutant(
        "NaN read",
        "files.py",
        "if not all(math.isfinite(value) for value in level if isinstance(value, float)):",
        "if False:",
        "test_files.py::test_json_that_could_not_be_written_again_is_refused",
    ),
    Mutant(
        "no check of the hash",
        "checkpoints.py",
        'if (len(content), hashlib.sha256(content).hexdigest()) != (entry.get("bytes"), entry.get("sha256")):',
        "if False:",
        "test_checkpoints.py::test_a_damaged_file_is_refused",
    ),
    Mutant(
        "manifest not sealed",
        "checkpoints.py",
        "sound = content == to_json(_seal(manifest))",
        "sound = True",
        "test_checkpoints.py::test_every_byte_of_a_manifest_counts",
    ),
    Mutant(
        "step taken from the name",
        "checkpoints.py",
        ' or path.name != f"step-{step:06d}":',
        ":",
        "test_checkpoints.py::test_a_checkpoint_under_another_name_is_refused",
    ),
    Mutant(
        "shapes not checked",
        "checkpoints.py",
        "            if tensors[key].shape != shapes[key] or tensors[key].dtype != np.float32\n",
        "            if False\n",
        "test_checkpoints.py::test_other_tensors_than_the_configuration_has_are_refused",
    ),
    Mutant(
        "NaN loaded",
        "checkpoints.py",
        "if not all(np.isfinite(tensor).all() for tensor in tensors.values()):",
        "if False:",
        "test_checkpoints.py::test_weights_that_are_no_numbers_are_refused",
    ),
    Mutant(
        "the best rotated away",
        "checkpoints.py",
        ", *by_merit[:1], *filter(None, [best]))",
        ")",
        "test_checkpoints.py::test_the_newest_two_and_the_best_stay",
    ),
    Mutant(
        "only one kept",
        "checkpoints.py",
        "KEEP = 2 ",
        "KEEP = 1 ",
        "test_checkpoints.py::test_the_newest_two_and_the_best_stay",
    ),
    Mutant(
        "no lock",
        "runs.py",
        "fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        "test_runs.py::test_one_process_at_a_time_is_at_work_in_a_run",
    ),
    Mutant(
        "leftovers not removed",
        "runs.py",
        "remove_leftovers(folder)\n",
        "pass\n",
        "test_runs.py::test_the_owner_of_the_lock_cleans_up_after_the_one_before",
    ),
    Mutant(
        "folders that lead elsewhere",
        "runs.py",
        "if path.is_symlink() or (",
        "if (",
        "test_runs.py::test_a_run_whose_folders_lead_elsewhere_is_refused",
    ),
    Mutant(
        "metrics not trimmed",
        "metrics.py",
        'if row["step"] <= steps_done and not again:',
        "if not again:",
        "test_metrics.py::test_events_that_will_be_repeated_are_dropped",
    ),
    Mutant(
        "validation repeated",
        "metrics.py",
        'if row["step"] <= steps_done and not again:',
        'if row["step"] <= steps_done:',
        "test_metrics.py::test_a_validation_that_was_not_committed_is_dropped_with_what_follows",
    ),
    Mutant(
        "step not restored",
        "training.py",
        "self.step, self.validated = step, step if validated else 0",
        "self.validated = step if validated else 0",
        "test_training.py::test_a_training_that_was_stopped_goes_on_bit_for_bit",
    ),
    Mutant(
        "moments not restored",
        "training.py",
        "value.copy_(torch.from_numpy(moments[name].copy()))",
        "pass",
        "test_training.py::test_a_training_that_was_stopped_goes_on_bit_for_bit",
    ),
    Mutant(
        "no fallback",
        "experiment.py",
        "            problems.append(str(error))\n            continue\n",
        "            raise\n",
        "test_experiment.py::test_a_damaged_checkpoint_is_passed_over_for_the_one_before",
    ),
    Mutant(
        "signal not noted",
        "signals.py",
        "if not (self.patient and first):",
        "if not self.patient:",
        "test_signals.py::test_a_patient_program_is_asked_first_and_interrupted_by_the_second",
    ),
    Mutant(
        "YAML tags obeyed",
        "config.py",
        'if getattr(event, "tag", None) is not None:',
        "if False:",
        "test_config.py::test_numbers_tags_and_names_that_break_parsers_are_refused",
    ),
    Mutant(
        "YAML aliases unfolded",
        "config.py",
        "if isinstance(event, yaml.AliasEvent):",
        "if False:",
        "test_config.py::test_a_file_that_is_no_configuration_is_refused",
    ),
    Mutant(
        "escapes printed",
        "console.py",
        'char if char.isprintable() or char == "\\n" else ascii(char)[1:-1]',
        "char",
        "test_console.py::test_no_escape_byte_of_an_input_reaches_the_reader",
    ),
]


def mutants(size: Size, seed: int) -> Outcome:
    """All in the long size. In the fast one only: they still fit the code, and their tests are there."""
    del seed
    for mutant in MUTANTS:
        text = (ROOT / "seqrev" / mutant.file).read_text()
        assert text.count(mutant.old) == 1, f"{mutant.name}: its text is {text.count(mutant.old)} times in {mutant.file}"
        file, function = mutant.tests.split("::")
        assert re.search(rf"^def {function}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE), mutant.tests
    if size == "fast":
        return Outcome(len(MUTANTS), "mutants that fit the code, with tests that are there (tried in the long size)")
    with scratch() as folder:
        copy = Path(folder)
        for name in ("seqrev", "tests", "configs"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, copy / name)
        passed, output = _test(copy, sorted({mutant.tests for mutant in MUTANTS}))
        assert passed, output
        missed = []
        for mutant in MUTANTS:
            path = copy / "seqrev" / mutant.file
            text = path.read_text()
            path.write_text(text.replace(mutant.old, mutant.new))
            passed, output = _test(copy, [mutant.tests])
            path.write_text(text)
            caught = not passed and re.search(r"^(FAILED|ERROR) ", output, re.MULTILINE)
            missed += [] if caught else [f"{mutant.name}: {mutant.tests}\n{output[-500:]}"]
            print(f"  {mutant.name}: {'caught by ' + mutant.tests if caught else 'MISSED'}", flush=True)
    assert not missed, "\n".join(missed)
    return Outcome(len(MUTANTS), "mutants of the safety code, each caught by a named test")


def _test(copy: Path, tests: list[str]) -> tuple[bool, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *(f"tests/{test}" for test in tests)],
        cwd=copy,
        capture_output=True,
        text=True,
        env=child_environment(PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE="1"),
        preexec_fn=hear_signals,
        check=False,
    )
    return done.returncode == 0, done.stdout + done.stderr
