// All heads at once: a small map of each, to be chosen for the large one, and a switch that takes its output away.

class HeadsPanel {
  /** `choose(kind, layer, head)` and `turn(kind, layer, head, on)` are called; `turn` null: heads cannot be turned off. */
  constructor(config, palette, choose, turn) {
    this.palette = palette
    this.entries = []
    this.reset = create("button", {type: "button", onclick: () => this.switchAllOn(turn)}, "all on")
    const heads = Array.from({length: config.heads}, (_, index) => index + 1)
    const grid = create("div", {className: "heads"})
    grid.style.setProperty("--heads", config.heads)
    grid.append(create("span", {className: "corner"}, "head"), ...heads.map((head) => create("span", {}, String(head))))
    for (const [kind, layer] of layersOf(config)) {
      const mean = create("button", {type: "button", onclick: () => choose(kind, layer, 0)}, `${kind} ${layer}`)
      mean.ariaLabel = `${KIND_NAMES[kind]}, layer ${layer}, mean over the heads`
      grid.append(mean)
      this.entries.push({kind, layer, head: 0, button: mean})
      for (const head of heads) grid.append(this.entry(kind, layer, head, choose, turn))
    }
    const title = create("h2", {}, turn ? "every head; untick to switch off " : "every head ", this.reset)
    this.element = create("section", {className: "panel", ariaLabel: "all heads"}, title, grid)
  }

  entry(kind, layer, head, choose, turn) {
    const name = `${KIND_NAMES[kind]}, layer ${layer}, head ${head}`
    const canvas = create("canvas")
    const button = create("button", {type: "button", className: "thumb", ariaLabel: name}, canvas)
    button.onclick = () => choose(kind, layer, head)
    const box = create("input", {type: "checkbox", checked: true, ariaLabel: `${name} is on`, title: `${name} is on`})
    box.onchange = () => turn(kind, layer, head, box.checked)
    box.hidden = !turn
    this.entries.push({kind, layer, head, button, canvas, box})
    return create("span", {className: "head"}, button, box)
  }

  switchAllOn(turn) {
    for (const {kind, layer, head, box} of this.entries) {
      if (!box || box.checked) continue
      box.checked = true
      turn(kind, layer, head, true)
    }
  }

  /** The small maps of a recording at a step; `state` says which of them is the large one. */
  update(recording, state, step) {
    for (const {kind, layer, head, button, canvas, box} of this.entries) {
      const chosen = kind === state.kind && layer === state.layer && head === state.head
      button.ariaPressed = String(chosen)
      if (!canvas) continue
      drawCells(canvas, recording.grid(kind, layer, head), kind === "encoder" ? Infinity : step, this.palette)
      button.classList.toggle("off", !box.checked)
    }
    this.reset.hidden = this.entries.every(({box}) => !box || box.checked)
  }
}

/** Kinds and layers in the order of the model: the encoder's, then each decoder layer's two. */
function layersOf(config) {
  const counted = (layers) => Array.from({length: layers}, (_, index) => index + 1)
  const decoder = counted(config.decoder_layers).flatMap((layer) => [["decoder", layer], ["cross", layer]])
  return [...counted(config.encoder_layers).map((layer) => ["encoder", layer]), ...decoder]
}
