"""Runs the cells of a notebook in a real kernel of this Python; no kernel needs to be installed."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode, v4

from tests.helpers import PATIENCE, child_environment

ROOT = Path(__file__).parents[1]
LAUNCH = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]


class _ThisPython(KernelSpecManager):
    """Whatever kernel is asked for, it is this Python."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(argv=LAUNCH, display_name=kernel_name, language="python")


def run_cells(cells: Sequence[str], folder: Path) -> NotebookNode:
    """The notebook of these cells, run in ``folder``, with its outputs.

    Raises:
        CellExecutionError: a cell raised, or took more than ten minutes.
    """
    code = [v4.new_code_cell(cell) for cell in cells]  # type: ignore[no-untyped-call]  # nbformat does not annotate it
    notebook: NotebookNode = v4.new_notebook(cells=code)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as settings:  # nothing of the user's configuration, and nothing left in it
        environment = child_environment(PYTHONPATH=str(ROOT), IPYTHONDIR=settings, JUPYTER_RUNTIME_DIR=settings)
        manager = AsyncKernelManager(kernel_spec_manager=_ThisPython())
        patience = dict.fromkeys(("timeout", "startup_timeout", "iopub_timeout"), PATIENCE)
        client = NotebookClient(notebook, km=manager, resources={"metadata": {"path": str(folder)}}, **patience)
        client.execute(cleanup_kc=True, env=environment)
    return notebook


def outputs(notebook: NotebookNode, cell: int) -> list[dict[str, str]]:
    """What a cell shows: for each output its representations by MIME type, of a stream ``text/plain``."""
    return [output.get("data") or {"text/plain": output["text"]} for output in notebook.cells[cell].outputs]
