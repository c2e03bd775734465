// The behaviour of the page: a sequence is typed, the model of each pane answers, and a step is shown at a time.

const EVERY = 900 // milliseconds between the steps while it plays

class Page {
  constructor(data) {
    this.data = data
    this.element = (id) => document.getElementById(id)
    const last = data.shown.kind === "encoder" ? data.config.encoder_layers : data.config.decoder_layers
    this.state = {...data.shown, layer: data.shown.layer ?? last, step: 1, guide: data.rule in RULES, rule: data.rule}
    this.source = data.source
    this.live = Boolean(data.stages)
    this.palette = parsePalette(data.palette)
    this.models = new Map() // by the number of their stage; made when they are first wanted
    this.off = new Map() // heads that are switched off, by their names
    this.panes = []
    this.timer = null
    const turn = this.live ? (...which) => this.turn(...which) : null
    this.heads = new HeadsPanel(data.config, this.palette, (kind, layer, head) => this.choose({kind, layer, head}), turn)
    this.element("main").append(this.heads.element)
    this.element("main").style.setProperty("--heads", data.config.heads)
    this.addPane()
    this.connect()
    this.answer()
  }

  addPane() {
    const names = this.live ? this.data.stages.map(({name}) => name) : []
    const pane = new Pane(names, this.palette, (chosen, stage) => this.chooseStage(chosen, stage))
    this.panes.push(pane)
    this.element("panes").prepend(pane.element) // the earlier stage is on the left
    return pane
  }

  /** Controls and keys. */
  connect() {
    const {element} = this
    const input = element("sequence")
    input.value = this.source.join(" ")
    element("ask").hidden = !this.live
    element("ask").onsubmit = (event) => {
      event.preventDefault()
      if (this.type(input.value)) input.blur() // so that the arrows step
    }
    input.oninput = () => this.type(input.value)
    element("random").onclick = () => this.typeRandom(input)
    const {reason} = this.data
    element("reason").textContent = reason ? `${reason} These are the maps of one sequence, ${this.source.join(" ")}.` : ""
    element("compare").hidden = !this.live || this.data.stages.length < 2
    element("compare").onclick = () => this.compare()
    element("guide").checked = this.state.guide
    element("guide").parentElement.hidden = !this.state.guide
    element("guide").onchange = (event) => this.choose({guide: event.target.checked})
    element("first").onclick = () => this.go(1)
    element("back").onclick = () => this.go(this.state.step - 1)
    element("next").onclick = () => this.go(this.state.step + 1)
    element("last").onclick = () => this.go(this.steps)
    element("play").onclick = () => this.play(this.timer === null)
    document.addEventListener("keydown", (event) => this.press(event))
  }

  press(event) {
    const typing = event.target.matches("input:not([type=checkbox])")
    if (typing || event.ctrlKey || event.altKey || event.metaKey) return
    const turn = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0
    if (turn && event.shiftKey) this.chooseStage(this.panes[0], this.panes[0].stage + turn)
    else if (turn) this.go(this.state.step + turn)
    else if (event.key === "Home") this.go(1)
    else if (event.key === "End") this.go(this.steps)
    else if (event.key === " " && !event.target.matches("button, input")) this.play(this.timer === null)
    else return
    event.preventDefault()
  }

  /** Take what was typed, if it is a sequence; else say what is wrong with it. */
  type(text) {
    const message = this.element("message")
    try {
      this.source = parseSequence(text, this.data.symbols, this.data.longest)
    } catch (error) {
      message.textContent = error.message
      this.element("sequence").ariaInvalid = "true"
      return false
    }
    message.textContent = ""
    this.element("sequence").ariaInvalid = "false"
    this.state.step = 1
    this.play(false)
    this.answer()
    return true
  }

  typeRandom(input) {
    const draw = () => Math.floor(Math.random() * this.data.symbols)
    input.value = Array.from({length: Math.max(1, this.source.length)}, draw).join(" ")
    this.type(input.value)
  }

  /** The model of a stage, with the heads switched off that are off. */
  model(stage) {
    if (!this.models.has(stage)) {
      const weights = new Weights(this.data.shapes, this.data.stages[stage])
      this.models.set(stage, new Transformer(this.data.config, weights))
    }
    const model = this.models.get(stage)
    for (const [kind, layer] of layersOf(this.data.config)) model.attention(kind, layer - 1).ablated.clear()
    for (const {kind, layer, head} of this.off.values()) model.attention(kind, layer - 1).ablated.add(head - 1)
    return model
  }

  /** Let every pane's model answer again. */
  answer() {
    const {rule, longestAnswer, recorded} = this.data
    for (const pane of this.panes)
      pane.recording = this.live
        ? record(this.model(pane.stage), this.source, rule, longestAnswer)
        : readRecorded(this.source, recorded)
    this.show()
  }

  get steps() {
    return Math.max(...this.panes.map(({recording}) => recording.steps))
  }

  go(step) {
    this.state.step = Math.min(Math.max(1, step), this.steps)
    if (this.state.step === this.steps) this.play(false)
    this.show()
  }

  /** Step on by itself, to the end; at the end from the first step again. */
  play(on) {
    clearInterval(this.timer)
    this.timer = on ? setInterval(() => this.go(this.state.step + 1), EVERY) : null
    this.element("play").textContent = on ? "❚❚ pause" : "▶ play"
    if (on && this.state.step >= this.steps) this.go(1)
  }

  choose(what) {
    Object.assign(this.state, what)
    this.show()
  }

  turn(kind, layer, head, on) {
    const name = `${kind} ${layer} ${head}`
    if (on) this.off.delete(name)
    else this.off.set(name, {kind, layer, head})
    this.answer()
  }

  chooseStage(pane, stage) {
    if (!this.live || stage < 0 || stage >= this.data.stages.length) return
    pane.stage = stage
    this.answer()
  }

  /** Another pane to the left, with the first stage; or away with it. */
  compare() {
    if (this.panes.length > 1) this.panes.pop().element.remove()
    else this.addPane().stage = 0
    this.element("compare").ariaPressed = String(this.panes.length > 1)
    this.answer()
  }

  show() {
    this.state.step = Math.min(this.state.step, this.steps)
    const {step} = this.state
    const names = this.panes.map((pane) => (this.live ? this.data.stages[pane.stage].name : this.data.title))
    this.panes.forEach((pane, index) => pane.update(pane.recording, this.state, names[index]))
    this.heads.update(this.panes[0].recording, this.state, this.panes[0].step)
    const several = this.panes.length > 1
    const said = this.panes.map((pane, index) => (several ? `${names[index]} ` : "") + pane.say(several))
    this.element("said").textContent = `step ${step} of ${this.steps}: ${said.join("; ")}`
    for (const id of ["first", "back"]) this.element(id).ariaDisabled = String(step === 1)
    for (const id of ["next", "last"]) this.element(id).ariaDisabled = String(step === this.steps)
  }
}

const page = new Page(JSON.parse(document.getElementById("data").textContent))
