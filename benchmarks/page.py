"""Times of the live page in a headless Chromium: its first paint, and an answer to ten symbols.

python benchmarks/page.py fast extrapolate        # configurations, as models without training
python benchmarks/page.py                         # the model that ships with the package
"""

import sys
import tempfile
from pathlib import Path

import seqrev
from seqrev.api.reverser import Reverser
from seqrev.workflows.attention import View, draw

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.browser import Page, chromium

ANSWER = """
const times = []
for (let number = 0; number < 21; number++) {
  const start = performance.now()
  page.type(Array.from({length: 10}, (_, index) => (index + number) % 10).join(" "))
  document.body.getBoundingClientRect() // so that the page is laid out
  times.push(performance.now() - start)
}
return times.sort((one, other) => one - other)[10]
"""
PAINT = "return performance.getEntriesByType('paint').find(({name}) => name === 'first-contentful-paint')?.startTime"


def model_of(name: str) -> Reverser:
    """A model that ships with the package, or an untrained one of a configuration."""
    if name == "pretrained":
        return seqrev.load(name, "cpu")
    config = seqrev.load_config(Path(__file__).parents[1] / "configs" / f"{name}.yaml")
    return Reverser(config, seqrev.Trainer(config).model.eval())


def main() -> None:
    """Print a line for each model."""
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder) / "profile") as driver:
        for name in sys.argv[1:] or ["pretrained"]:
            _, path = draw(model_of(name), [4, 8, 2, 9], View(), out=Path(folder) / f"{name}.html")
            page = Page(driver, path)
            page.run("return document.fonts.ready.then(() => new Promise(requestAnimationFrame))")
            size = path.stat().st_size / 1e6
            print(f"{name}: {size:.1f} MB, first paint {page.run(PAINT):.0f} ms, an answer {page.run(ANSWER):.0f} ms")


if __name__ == "__main__":
    main()
