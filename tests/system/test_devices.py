import pytest
import torch

from seqrev.errors import UsageError
from seqrev.system.devices import choose_device


@pytest.mark.parametrize(("cuda", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch, cuda: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)  # slower than the CPU at this size
    assert choose_device("auto") == torch.device(expected)


def test_a_device_that_is_there_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("cpu", "cuda", "mps", "cuda:1"):
        assert choose_device(name) == choose_device(torch.device(name)) == torch.device(name)
    with pytest.raises(UsageError, match="The device cuda:2 is not available here; there is cpu and cuda and mps"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["cuda", "mps", "cuda:0", "meta", "abacus", ""])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match=rf"The device {name} is not available here; there is cpu\.") as caught:
        choose_device(name)
    assert caught.value.hint == "--device auto"


def test_who_asks_for_the_cpu_does_not_wake_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("the driver was asked"))
    assert choose_device("cpu") == torch.device("cpu")
