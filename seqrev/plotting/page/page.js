// The behaviour of the page: a sequence is typed, the model of each pane answers, and a step is shown at a time. (On the
// page a step of the decoder is called by its token, so that a step is always one of the training.)

const EVERY = 900 // milliseconds between the steps while it plays
const QUIET = 300 // milliseconds without a change, after which the address is written; browsers allow few writes a second

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
    const turn = this.live ? (heads, on) => this.turn(heads, on) : null
    this.heads = new HeadsPanel(data.config, this.palette, (head) => this.choose(head), turn)
    this.element("main").append(this.heads.element)
    this.element("main").style.setProperty("--heads", data.config.heads)
    this.addPane()
    this.connect()
    this.answer()
    this.address = this.link() // written when it becomes another one
    this.open(location.hash)
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
    window.addEventListener("hashchange", () => this.open(location.hash))
  }

  press(event) {
    const typing = event.target.matches("input:not([type=checkbox])")
    if (typing || this.element("main").inert || event.ctrlKey || event.altKey || event.metaKey) return
    const turn = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0
    if (turn && event.shiftKey) this.chooseStage(this.panes[0], this.panes[0].stage + turn)
    else if (turn) this.go(this.state.step + turn)
    else if (event.key === "Home") this.go(1)
    else if (event.key === "End") this.go(this.steps)
    else if (event.key === " " && !event.target.matches("button, input")) this.play(this.timer === null)
    else return
    event.preventDefault()
  }

  /** Take what was typed, if it is a sequence; else say what is wrong, and dim the answer, which is to another one. */
  type(text) {
    this.play(false)
    let problem = ""
    try {
      this.source = parseSequence(text, this.data.symbols, this.data.longest)
    } catch (error) {
      problem = error.message
    }
    this.element("message").textContent = problem
    this.element("sequence").ariaInvalid = String(Boolean(problem))
    for (const id of ["main", "controls"]) this.element(id).inert = Boolean(problem)
    if (problem) return false
    this.state.step = 1
    this.answer()
    return true
  }

  /** Show what an address says. */
  open(hash) {
    const {sequence, step, map, stages, off} = readLink(hash, this.data.config)
    Object.assign(this.state, map)
    if (this.live) {
      this.off = new Map(off.map((head) => [headName(head), head]))
      const names = this.data.stages.map(({name}) => name)
      this.showStages(stages.map((name) => names.indexOf(name)).filter((stage) => stage >= 0))
      if (sequence === null) this.answer()
      else this.type((this.element("sequence").value = sequence))
    }
    this.go(step)
  }

  /** What an address says that shows this again. */
  link() {
    const stages = this.live ? this.panes.map(({stage}) => this.data.stages[stage].name).reverse() : []
    return writeLink({...this.state, source: this.source, map: this.state, stages, off: [...this.off.values()]})
  }

  /** Keep what is shown in the address; a frame, as in a notebook, has none to be kept. */
  remember() {
    clearTimeout(this.writing)
    if (window !== parent || this.link() === this.address) return
    this.writing = setTimeout(() => history.replaceState(null, "", (this.address = this.link())), QUIET)
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

  turn(heads, on) {
    for (const head of heads)
      if (on) this.off.delete(headName(head))
      else this.off.set(headName(head), head)
    this.answer()
  }

  chooseStage(pane, stage) {
    if (!this.live || stage < 0 || stage >= this.data.stages.length) return
    pane.stage = stage
    this.answer()
  }

  /** Another pane to the left, with the first stage; or away with it. */
  compare() {
    const shown = this.panes.map(({stage}) => stage)
    this.showStages(shown.length > 1 ? shown.slice(0, 1) : [0, ...shown])
  }

  /** A pane for one or two stages, from left to right; for none, those that are there stay. */
  showStages(stages) {
    const [right, left] = [...stages].reverse()
    if (right === undefined) return
    if (left === undefined && this.panes.length > 1) this.panes.pop().element.remove()
    if (left !== undefined && this.panes.length === 1) this.addPane()
    this.panes[0].stage = right
    if (left !== undefined) this.panes[1].stage = left
    this.element("compare").ariaPressed = String(this.panes.length > 1)
    this.answer()
  }

  show() {
    this.state.step = Math.min(this.state.step, this.steps)
    const {step} = this.state
    const names = this.panes.map((pane) => (this.live ? this.data.stages[pane.stage].name : this.data.title))
    this.panes.forEach((pane, index) => pane.update(pane.recording, this.state, names[index]))
    const several = this.panes.length > 1
    this.heads.update(this.panes[0].recording, this.state, this.panes[0].step, this.off, several && names[0])
    const said = this.panes.map((pane, index) => (several ? `${names[index]} ` : "") + pane.say(several)).reverse()
    this.element("said").textContent = `token ${step} of ${this.steps}: ${said.join("; ")}`
    const {trained} = this.data
    this.element("note").textContent =
      trained && this.source.length > trained ? `longer than any in training (at most ${trained}); it may fail` : ""
    for (const id of ["first", "back"]) this.element(id).ariaDisabled = String(step === 1)
    for (const id of ["next", "last"]) this.element(id).ariaDisabled = String(step === this.steps)
    this.remember()
  }
}

const page = new Page(JSON.parse(document.getElementById("data").textContent))
