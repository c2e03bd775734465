"""How files are written and read."""

import os
import stat
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import PosixPath
from typing import Any

from tests.torture.mutants.mutant import Altered, Mutant


class DeafExecutor(ThreadPoolExecutor):
    """Nobody learns of an error in its thread."""

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        def quiet() -> None:
            with suppress(Exception):
                function(*arguments, **options)

        return super().submit(quiet)


def flush_only_folders(handle: int) -> None:
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        os.fsync(handle)


class CarelessPath(PosixPath):
    """What is there already is not removed, but written through."""

    def unlink(self, missing_ok: bool = False) -> None:
        pass

    def open(self, *_: Any, **__: Any) -> Any:
        return super().open("wb")


def any_size(read: Callable[..., bytes]) -> Callable[..., bytes]:
    return lambda path, _largest, *arguments, **options: read(path, 2**28, *arguments, **options)


FILES = (
    Mutant(
        "an error of the writing thread is not asked for",
        "seqrev.data.dataset.ThreadPoolExecutor",
        lambda _: DeafExecutor,
        "test_no_write_of_a_dataset_fails_unnoticed",
    ),
    Mutant(
        "no fsync of a file",
        "seqrev.system.files.os",
        lambda module: Altered(module, fsync=flush_only_folders),
        "test_content_is_on_disk_before_the_file_appears",
    ),
    Mutant(
        "no fsync of a folder",
        "seqrev.system.files.sync_folder",
        lambda _: lambda folder: None,
        "test_content_is_on_disk_before_the_file_appears",
    ),
    Mutant(
        "written in place",
        "seqrev.system.files.temporary_path",
        lambda _: lambda path, suffix="tmp": path,
        "test_a_reader_never_meets_half_a_file",
    ),
    Mutant(
        "built through a link",
        "seqrev.system.files.temporary_path",
        lambda name: lambda path, suffix="tmp": CarelessPath(name(path, suffix)),
        "test_a_file_is_not_built_through_a_link_that_somebody_put_there",
    ),
    Mutant(
        "links followed",
        "seqrev.system.files.open_regular",
        lambda open_: lambda path, expected="", hint="", follow=True: open_(path, expected, hint),
        "test_what_is_no_regular_file_of_the_run_is_refused_at_once",
    ),
    Mutant(
        "devices read",
        "seqrev.system.files.stat",
        lambda module: Altered(module, S_ISREG=lambda mode: True),
        "test_what_is_no_regular_file_of_the_run_is_refused_at_once",
    ),
    Mutant("no limit of size", "seqrev.system.files.read_regular", any_size, "test_what_is_no_json_object_is_refused"),
    Mutant(
        "NaN read",
        "seqrev.system.files.math",
        lambda module: Altered(module, isfinite=lambda value: True),
        "test_json_that_could_not_be_written_again_is_refused",
    ),
)
