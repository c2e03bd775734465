// One stage of the training: its buttons, the answer so far, a large map, and the most probable tokens. Two panes side by
// side compare two stages.

const TITLES = {
  encoder: ["source token", "source token"],
  decoder: ["token emitted", "token read"],
  cross: ["token emitted", "source token"],
}
const LONG_ANSWER = 21 // tokens, from which on the right one is not written beside a wrong one
const percent = (probability) => `${(100 * probability).toFixed(1)}\u00a0%`

/** The first word of some names, if all have the same, and the names without it: "step 16", "step 32" are said shorter. */
function shareFirstWord(names) {
  const words = new Set(names.map((name) => name.split(" ")[0]))
  const [word] = words
  if (words.size !== 1 || names.some((name) => name === word)) return ["", names]
  return [word, names.map((name) => name.slice(word.length + 1))]
}

class Pane {
  /** `stages`: their names; `choose(index)` is called for a button. */
  constructor(stages, palette, choose) {
    this.stage = stages.length - 1
    const [word, short] = shareFirstWord(stages)
    this.buttons = short.map((name, index) => create("button", {type: "button", onclick: () => choose(this, index)}, name))
    const group = create("div", {className: "stages", role: "group", ariaLabel: "stage of the training"})
    group.append(create("span", {className: "word"}, word), ...this.buttons)
    group.hidden = stages.length < 2
    this.answer = create("p", {className: "answer"})
    this.caption = create("p", {className: "caption"})
    this.map = new MapView(palette, (cell) => this.point(cell))
    this.top = create("ol", {className: "top"})
    this.topTitle = create("h2")
    this.predictions = create("section", {className: "predictions"}, this.topTitle, this.top)
    const inner = create("div", {className: "inner"}, group, this.answer, this.caption, this.map.element, this.predictions)
    this.element = create("article", {className: "pane"}, inner)
  }

  /** Show a recording; `state`: `{step, kind, layer, head, guide, rule}`. */
  update(recording, state, name) {
    this.recording = recording
    this.state = state
    this.element.ariaLabel = name
    this.buttons.forEach((button, index) => (button.ariaPressed = String(index === this.stage)))
    this.step = Math.min(state.step, recording.steps)
    this.showAnswer()
    this.showMap()
    this.showTop()
  }

  /** The tokens so far, wrong ones marked; at the end a verdict. */
  showAnswer() {
    const {emitted, steps} = this.recording
    const expected = this.expected()
    const tokens = emitted.slice(0, this.step).map((token, index) => {
      const wrong = expected && token !== expected[index]
      const element = create("span", {className: wrong ? "token wrong" : "token"}, token)
      if (index === this.step - 1) element.classList.add("newest")
      if (wrong) element.append(create("span", {className: "unseen"}, " (wrong)"))
      return element
    })
    this.answer.replaceChildren(create("span", {className: "word"}, "answer "), ...tokens)
    if (this.step === steps) this.answer.append(this.verdict(expected))
    this.answer.scrollTop = this.answer.scrollHeight // of a long answer the newest token is in view
  }

  /** What a perfect model emits; null: there is no rule. */
  expected() {
    const symbols = this.recording.source.slice(1, -1)
    const indices = alignment(symbols.map(Number), this.state.rule)
    return indices && [...indices.map((index) => symbols[index]), "<EOS>"]
  }

  verdict(expected) {
    const {emitted} = this.recording
    if (emitted.at(-1) !== "<EOS>") return create("strong", {className: "verdict bad"}, "✗ does not end")
    if (!expected) return ""
    if (emitted.join() === expected.join()) return create("strong", {className: "verdict good"}, "✓ right")
    const right = expected.length > LONG_ANSWER ? "wrong" : `${expected.slice(0, -1).join(" ")} was expected`
    return create("strong", {className: "verdict bad"}, `✗ ${right}`)
  }

  showMap() {
    const {kind, layer, head, guide, rule} = this.state
    const grid = this.recording.grid(kind, layer, head)
    const [rows, columns] = this.recording.labels(kind)
    const aligned = kind === "cross" ? this.recording.aligned(rule) : null
    this.words = this.describe(grid, aligned)
    this.caption.textContent = this.words
    this.map.update({
      grid, rows, columns,
      titles: TITLES[kind],
      shownRows: kind === "encoder" ? rows.length : this.step,
      shownColumns: kind === "decoder" ? this.step : columns.length,
      guide: guide && aligned ? aligned.map((index) => index + 1) : [],
      current: kind === "encoder" ? -1 : this.step - 1,
      description: this.words,
    })
  }

  /** Which map it is, and how well its rows so far are aligned. */
  describe(grid, aligned) {
    const {kind, layer, head} = this.state
    const heads = this.recording.maps[kind][layer - 1].length
    const which = heads === 1 ? "" : head ? `, head ${head}` : `, mean of ${heads} heads`
    const {mass, hit} = aligned ? alignmentScore(grid, aligned, this.step) : {}
    const score = aligned ? `: mass ${mass.toFixed(2)}, hit ${hit.toFixed(2)}` : ""
    return `${KIND_NAMES[kind]}, layer ${layer}${which}${score}`
  }

  /** Say what is under the pointer. */
  point(cell) {
    if (!this.recording) return
    const {kind, layer, head} = this.state
    const [rows, columns] = this.recording.labels(kind)
    const {values, columns: width} = this.recording.grid(kind, layer, head)
    this.caption.textContent = cell
      ? `${rows[cell.row]} looks at ${columns[cell.column]}: weight ${values[cell.row * width + cell.column].toFixed(4)}`
      : this.words
  }

  showTop() {
    this.predictions.hidden = !this.recording.probabilities
    if (this.predictions.hidden) return
    this.topTitle.textContent = "most probable"
    this.top.replaceChildren(
      ...this.recording.top(this.step).map(({token, probability}) => {
        const bar = create("span", {className: "bar", ariaHidden: "true"})
        bar.style.setProperty("--share", probability)
        return create("li", {}, create("span", {className: "token"}, token), bar, create("span", {}, percent(probability)))
      })
    )
  }

  /** The step in words, for those who do not see the map; `short`: without where it looks. */
  say(short) {
    const {emitted, probabilities, source, steps} = this.recording
    if (this.state.step > steps) return "has ended"
    const {kind, layer, head} = this.state
    const chance = probabilities ? ` (${percent(this.recording.top(this.step)[0].probability)})` : ""
    const said = `emits ${emitted[this.step - 1]}${chance}`
    if (short || kind !== "cross") return said
    const {values, columns} = this.recording.grid(kind, layer, head)
    const row = values.subarray((this.step - 1) * columns, this.step * columns)
    const most = row.indexOf(largest(row))
    return `${said}, looks most at ${source[most]}, position ${most}`
  }
}
