// What is seen of one sequence: the answer, the probabilities at every step, and every map, as a grid of weights. It comes
// from the model or, where the page has none, from what was recorded (seqrev/interpret/attention.py).

const SPECIAL_TOKENS = ["<PAD>", "<BOS>", "<EOS>"]
const KIND_NAMES = {
  encoder: "encoder self-attention",
  decoder: "decoder self-attention",
  cross: "cross-attention",
}

function tokenName(id) {
  return SPECIAL_TOKENS[id] ?? String(id - FIRST_SYMBOL)
}

class Recording {
  /** `maps`: of each kind `[layer][head]`, grids; `probabilities`: of every token at each step, or null. */
  constructor(source, emitted, maps, probabilities = null) {
    this.source = ["<BOS>", ...source.map(String), "<EOS>"]
    this.emitted = emitted
    this.read = ["<BOS>", ...emitted.slice(0, -1)] // by the decoder at each step
    this.maps = maps
    this.probabilities = probabilities
  }

  get steps() {
    return this.emitted.length
  }

  /** Where the rule looks in each row that emits a symbol; null: there is no rule. */
  aligned(rule) {
    const symbols = this.emitted.filter((token) => token !== "<EOS>").length
    return alignment(this.source.slice(1, -1).map(Number), rule)?.slice(0, symbols) ?? null
  }

  /** The map of a head, or with `head` 0 the mean over the heads; both counted from 1. */
  grid(kind, layer, head) {
    const heads = this.maps[kind][layer - 1]
    return head ? heads[head - 1] : meanGrid(heads)
  }

  /** The tokens of the rows and of the columns of a map. */
  labels(kind) {
    if (kind === "encoder") return [this.source, this.source]
    return [this.emitted, kind === "cross" ? this.source : this.read]
  }

  /** The five most probable of the tokens that may follow, at a step counted from 1. */
  top(step, count = 5) {
    return Array.from(this.probabilities[step - 1], (probability, id) => ({id, token: tokenName(id), probability}))
      .filter(({id}) => id !== PAD && id !== BOS)
      .sort((one, other) => other.probability - one.probability)
      .slice(0, count)
  }
}

/** Let a model answer a source, symbols. `longestAnswer`: where no rule says how long the right answer is. */
function record(model, source, rule, longestAnswer) {
  const right = alignment(source, rule)?.length ?? longestAnswer ?? source.length
  const most = Math.min(right + 1 + MAX_EXTRA_TOKENS, model.config.max_positions)
  const answer = model.answer([BOS, ...source.map((symbol) => symbol + FIRST_SYMBOL), EOS], most)
  const rows = (kind, layer, head) => answer.steps.map((step) => step[kind][layer][head][0])
  const byLayer = (kind) => answer.steps[0][kind].map((heads, layer) => heads.map((_, head) => rows(kind, layer, head)))
  const columns = {encoder: source.length + 2, decoder: answer.steps.length, cross: source.length + 2}
  const maps = {encoder: answer.encoder, decoder: byLayer("decoder"), cross: byLayer("cross")}
  for (const kind in maps) maps[kind] = maps[kind].map((heads) => heads.map((head) => toGrid(head, columns[kind])))
  return new Recording(source, answer.ids.map(tokenName), maps, answer.steps.map(({logits}) => softmax(logits)))
}

/** What was recorded: `{emitted, maps: {kind: {shape, base64}}}`, weights in steps of 1/65535. */
function readRecorded(source, {emitted, maps}) {
  const grids = Object.entries(maps).map(([kind, {shape, base64}]) => {
    const [layers, heads, rows, columns] = shape
    const values = Float32Array.from(new Uint16Array(decodeBase64(base64).buffer), (value) => value / 65535)
    const grid = (index) => ({rows, columns, values: values.subarray(index * rows * columns, (index + 1) * rows * columns)})
    const ofLayer = (layer) => Array.from({length: heads}, (_, head) => grid(layer * heads + head))
    return [kind, Array.from({length: layers}, (_, layer) => ofLayer(layer))]
  })
  return new Recording(source, emitted, Object.fromEntries(grids))
}

/** Rows of weights, the later ones perhaps longer, as one grid. */
function toGrid(rows, columns) {
  const values = new Float32Array(rows.length * columns)
  rows.forEach((row, index) => values.set(row, index * columns))
  return {rows: rows.length, columns, values}
}

function meanGrid(grids) {
  const values = grids[0].values.map((_, cell) => grids.reduce((sum, grid) => sum + grid.values[cell], 0) / grids.length)
  return {...grids[0], values}
}

/** Over the first `shown` rows: how much of a row's weight (mass), and whether its largest (hit), is at `aligned`. */
function alignmentScore(grid, aligned, shown) {
  const rows = Math.min(aligned.length, shown, grid.rows)
  let mass = 0, hit = 0
  for (let row = 0; row < rows; row++) {
    const weights = grid.values.subarray(row * grid.columns, (row + 1) * grid.columns)
    mass += weights[aligned[row] + 1] / rows
    hit += (weights.indexOf(largest(weights)) === aligned[row] + 1) / rows
  }
  return {mass, hit}
}
