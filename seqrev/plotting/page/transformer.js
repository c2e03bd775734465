// The encoder-decoder Transformer (seqrev/model/transformer.py, encoder.py, decoder.py) and greedy decoding
// (seqrev/inference/search.py).

const PAD = 0, BOS = 1, EOS = 2, FIRST_SYMBOL = 3 // ids; symbol s has the id s + 3
const MAX_EXTRA_TOKENS = 10 // that an answer may be longer than the right one before it counts as endless

class Transformer {
  /** `config`: the fields of the model's configuration; `weights`: a `Weights`, with the names of the state dict. */
  constructor(config, weights) {
    this.config = config
    const stack = (name, layers, Layer) =>
      Array.from({length: layers}, (_, index) => new Layer(weights, `${name}.layers.${index}`, config))
    this.encoder = {
      tokens: weights.get("encoder.embedding.tokens.weight"),
      layers: stack("encoder", config.encoder_layers, EncoderLayer),
      norm: weights.linear("encoder.norm"),
    }
    const shared = config.tie_embeddings ? this.encoder.tokens : null
    this.decoder = {
      tokens: shared ?? weights.get("decoder.embedding.tokens.weight"),
      layers: stack("decoder", config.decoder_layers, DecoderLayer),
      norm: weights.linear("decoder.norm"),
    }
    this.output = {weight: shared ?? weights.get("output.weight"), bias: weights.get("output.bias")}
  }

  /** The attention of a kind ("encoder", "decoder" or "cross") in a layer, counted from 0. */
  attention(kind, layer) {
    const {layers} = kind === "encoder" ? this.encoder : this.decoder
    return layers[layer][kind === "cross" ? "cross_attention" : "self_attention"]
  }

  /** Which token it is and, with sinusoidal positions, where it is. */
  embed(tokens, id, position) {
    const {d_model, positions, position_base} = this.config
    const state = Float64Array.from(tokens.subarray(id * d_model, (id + 1) * d_model))
    if (positions !== "sinusoidal") return state
    const encoding = sinusoidal(position, d_model, position_base)
    return state.map((value, index) => value + encoding[index])
  }

  /** The rotations at some positions, for vectors of so many addresses to a head; null: the scheme does not rotate. */
  rotations(positions, addresses = 1) {
    const {d_model, heads, position_base} = this.config
    return this.config.positions === "rotary" ? rotation(positions, d_model / heads / addresses, position_base) : null
  }

  /** Read the source, ids from `<BOS>` to `<EOS>`: states, the ways to count its positions, and every layer's weights. */
  encode(source) {
    const counts = sourcePositions(source.length, this.config.source_from)
    const rotations = this.rotations(counts[0]) // among themselves, one way to count is enough
    let states = source.map((id, index) => this.embed(this.encoder.tokens, id, counts[0][index]))
    const weights = []
    for (const layer of this.encoder.layers) {
      const output = layer.forward(states, rotations)
      states = output.states
      weights.push(output.weights)
    }
    return {states: layerNorm(states, this.encoder.norm), counts, weights}
  }

  /** An empty cache of keys and values for every decoder layer; those of the source are in it at once. */
  newCache({states, counts}) {
    const rotations = counts.map((positions) => this.rotations(positions, counts.length))
    return this.decoder.layers.map(({cross_attention}) => {
      const cache = {target: [], source: []}
      cross_attention.append(cache.source, states, rotations[0] && rotations)
      return cache
    })
  }

  /** One step: the logits of what follows the token `id`, and the weights of every layer. */
  decode(id, cache) {
    const position = cache[0].target.length
    const addresses = this.config.source_from === "both" ? 2 : 1
    const own = this.rotations([position])
    const toSource = addresses > 1 ? this.rotations([position], addresses) : own
    const scale = this.config.length_scaling ? lengthScale(cache[0].source.length) : 1
    let states = [this.embed(this.decoder.tokens, id, position)]
    const decoder = [], cross = []
    this.decoder.layers.forEach((layer, index) => {
      const output = layer.forward(states, cache[index], own, toSource, scale)
      states = output.states
      decoder.push(output.selfWeights)
      cross.push(output.crossWeights)
    })
    states = layerNorm(states, this.decoder.norm)
    if (this.config.tie_embeddings)
      states = states.map((row) => row.map((value) => value / Math.sqrt(this.config.d_model)))
    return {logits: linear(states, this.output)[0], decoder, cross}
  }

  /** Greedy decoding, free-running: the model reads its own output, and must emit `<EOS>` within `most` tokens. */
  answer(source, most) {
    const memory = this.encode(source)
    const cache = this.newCache(memory)
    const ids = [BOS], steps = []
    while (ids.length <= most && ids.at(-1) !== EOS) {
      const step = this.decode(ids.at(-1), cache)
      const allowed = step.logits.map((logit, id) => (id === PAD || id === BOS ? -Infinity : logit))
      ids.push(allowed.indexOf(largest(allowed)))
      steps.push(step)
    }
    return {ids: ids.slice(1), finished: ids.at(-1) === EOS, steps, encoder: memory.weights}
  }
}
