// Encoder and decoder layers, pre-norm: every block normalises its input and adds its output to the residual stream
// (seqrev/model/layers.py).

class FeedForward {
  constructor(weights, name) {
    this.linear1 = weights.linear(`${name}.linear1`)
    this.linear2 = weights.linear(`${name}.linear2`)
  }

  /** `max(0, x W₁ + b₁) W₂ + b₂`, each position for itself. */
  forward(states) {
    const inner = linear(states, this.linear1).map((row) => row.map((value) => Math.max(0, value)))
    return linear(inner, this.linear2)
  }
}

class EncoderLayer {
  constructor(weights, name, config) {
    this.self_attention = new MultiHeadAttention(weights, `${name}.self_attention`, config.heads)
    this.self_attention_norm = weights.linear(`${name}.self_attention_norm`)
    this.feed_forward_norm = weights.linear(`${name}.feed_forward_norm`)
    this.feed_forward = new FeedForward(weights, `${name}.feed_forward`)
  }

  /** Self-attention over the whole source, then a feed-forward block. */
  forward(states, rotations) {
    const normed = layerNorm(states, this.self_attention_norm)
    const cache = []
    this.self_attention.append(cache, normed, rotations && [rotations])
    const attended = this.self_attention.forward(normed, cache, rotations)
    states = add(states, attended.states)
    states = add(states, this.feed_forward.forward(layerNorm(states, this.feed_forward_norm)))
    return {states, weights: attended.weights}
  }
}

class DecoderLayer {
  constructor(weights, name, config) {
    const addresses = config.source_from === "both" ? 2 : 1
    this.self_attention = new MultiHeadAttention(weights, `${name}.self_attention`, config.heads)
    this.cross_attention = new MultiHeadAttention(weights, `${name}.cross_attention`, config.heads, addresses)
    for (const part of ["self_attention_norm", "cross_attention_norm", "feed_forward_norm"])
      this[part] = weights.linear(`${name}.${part}`)
    this.feed_forward = new FeedForward(weights, `${name}.feed_forward`)
  }

  /** Self-attention over the target so far, cross-attention to the whole source, then a feed-forward block. */
  forward(states, cache, rotations, sourceRotations, scale) {
    let normed = layerNorm(states, this.self_attention_norm)
    this.self_attention.append(cache.target, normed, rotations && [rotations])
    const own = this.self_attention.forward(normed, cache.target, rotations)
    states = add(states, own.states)
    normed = layerNorm(states, this.cross_attention_norm)
    const cross = this.cross_attention.forward(normed, cache.source, sourceRotations, scale)
    states = add(states, cross.states)
    states = add(states, this.feed_forward.forward(layerNorm(states, this.feed_forward_norm)))
    return {states, selfWeights: own.weights, crossWeights: cross.weights}
  }
}
