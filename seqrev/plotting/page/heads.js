// All heads at once: a small map of each, to be chosen for the large one, and a switch that takes its output away.

class HeadsPanel {
  /** `choose(head)` and `turn(heads, on)` are called, a head being `{kind, layer, head}`; `turn` null: no switches. */
  constructor(config, palette, choose, turn) {
    this.palette = palette
    this.entries = []
    this.hint = turn ? "; untick to switch off" : ""
    this.title = create("span")
    this.reset = create("button", {type: "button", onclick: () => turn(this.entries, true)}, "all on")
    const heads = Array.from({length: config.heads}, (_, index) => index + 1)
    const grid = create("div", {className: "heads"})
    grid.style.setProperty("--heads", config.heads)
    grid.append(create("span", {className: "corner"}, "head"), ...heads.map((head) => create("span", {}, String(head))))
    for (const [kind, layer] of layersOf(config)) {
      const mean = create("button", {type: "button", onclick: () => choose({kind, layer, head: 0})}, `${kind} ${layer}`)
      mean.ariaLabel = `${KIND_NAMES[kind]}, layer ${layer}, mean over the heads`
      grid.append(mean)
      this.entries.push({kind, layer, head: 0, button: mean})
      for (const head of heads) grid.append(this.entry(kind, layer, head, choose, turn))
    }
    const heading = create("h2", {}, this.title, this.reset)
    this.element = create("section", {className: "panel", ariaLabel: "all heads"}, heading, grid)
  }

  entry(kind, layer, head, choose, turn) {
    const name = `${KIND_NAMES[kind]}, layer ${layer}, head ${head}`
    const canvas = create("canvas")
    const button = create("button", {type: "button", className: "thumb", ariaLabel: name}, canvas)
    button.onclick = () => choose({kind, layer, head})
    const box = create("input", {type: "checkbox", ariaLabel: `${name} is on`, title: `${name} is on`})
    box.onchange = () => turn([{kind, layer, head}], box.checked)
    box.hidden = !turn
    this.entries.push({kind, layer, head, button, canvas, box})
    return create("span", {className: "head"}, button, box)
  }

  /**
   * The small maps of a recording at a step; `state` says which of them is the large one, `off` has the names of the heads
   * that are switched off, and `stage` is the name of the stage, if two are compared.
   */
  update(recording, state, step, off, stage) {
    this.title.textContent = (stage ? `heads at ${stage}` : "every head") + this.hint
    for (const {kind, layer, head, button, canvas, box} of this.entries) {
      const chosen = kind === state.kind && layer === state.layer && head === state.head
      button.ariaPressed = String(chosen)
      if (!canvas) continue
      drawCells(canvas, recording.grid(kind, layer, head), kind === "encoder" ? Infinity : step, this.palette)
      box.checked = !off.has(headName({kind, layer, head}))
      button.classList.toggle("off", !box.checked)
    }
    this.reset.hidden = !off.size
  }
}

/** Kinds and layers in the order of the model: the encoder's, then each decoder layer's two. */
function layersOf(config) {
  const counted = (layers) => Array.from({length: layers}, (_, index) => index + 1)
  const decoder = counted(config.decoder_layers).flatMap((layer) => [["decoder", layer], ["cross", layer]])
  return [...counted(config.encoder_layers).map((layer) => ["encoder", layer]), ...decoder]
}
