// Where a token is: sinusoids added to the embedding, or rotations of queries and keys (seqrev/model/positions.py).

/** `pos / base^(2i / dimensions)` for every pair `i` of dimensions. */
function angles(position, dimensions, base) {
  return Float64Array.from({length: dimensions / 2}, (_, pair) => position * base ** ((-2 * pair) / dimensions))
}

/** Sines and cosines in turn, of ever longer wavelengths: `[d_model]`. */
function sinusoidal(position, dModel, base) {
  const angle = angles(position, dModel, base)
  return Float32Array.from({length: dModel}, (_, index) => (index % 2 ? Math.cos : Math.sin)(angle[index >> 1]))
}

/** Cosines and sines by which the pairs of dimensions are rotated at each of some positions. */
function rotation(positions, width, base) {
  return positions.map((position) => {
    const angle = angles(position, width, base)
    return {cos: Float32Array.from(angle, Math.cos), sin: Float32Array.from(angle, Math.sin)}
  })
}

/** `(x₁, x₂) → (x₁ cos θ − x₂ sin θ, x₁ sin θ + x₂ cos θ)`; pair `i` is dimensions `i` and `i + width / 2`. */
function applyRotary(vector, {cos, sin}) {
  const half = vector.length / 2
  return vector.map((value, index) => {
    const pair = index % half
    return value * cos[pair] + (index < half ? -vector[index + half] : vector[index - half]) * sin[pair]
  })
}

/** The positions of the source tokens by every count that there is: from the start, from the end, or both. */
function sourcePositions(length, sourceFrom) {
  const fromStart = Array.from({length}, (_, index) => index)
  const fromEnd = [...fromStart].reverse()
  return {start: [fromStart], end: [fromEnd], both: [fromStart, fromEnd]}[sourceFrom]
}

/** `log(n + 1) / log(20)`: keeps the softmax as sharp among many keys as among few. */
function lengthScale(keys) {
  return Math.log(keys + 1) / Math.log(20)
}
