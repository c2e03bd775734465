// The few operations that a Transformer takes. States are rows, `[length][d_model]`: an array of Float64Array.
// (seqrev computes in float32. Here sums are in float64, as JavaScript has it; the weights are the same.)

/** `x Wᵀ + b` for every row, as `torch.nn.Linear`; `weight`: `[outputs · inputs]`. */
function linear(states, {weight, bias}) {
  return states.map((row) => {
    const result = new Float64Array(bias.length)
    for (let output = 0, at = 0; output < bias.length; output++) {
      let sum = bias[output]
      for (let input = 0; input < row.length; input++, at++) sum += row[input] * weight[at]
      result[output] = sum
    }
    return result
  })
}

/** Every row less its mean, over its standard deviation, as `torch.nn.LayerNorm`. */
function layerNorm(states, {weight, bias}) {
  return states.map((row) => {
    const mean = row.reduce((sum, value) => sum + value, 0) / row.length
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length
    return row.map((value, index) => ((value - mean) / Math.sqrt(variance + 1e-5)) * weight[index] + bias[index])
  })
}

/** The sum of two sequences of states: what a block adds to the residual stream. */
function add(states, others) {
  return states.map((row, index) => row.map((value, feature) => value + others[index][feature]))
}

function dot(one, other) {
  let sum = 0
  for (let index = 0; index < one.length; index++) sum += one[index] * other[index]
  return sum
}

/** The largest of any number of values; `Math.max` takes no more arguments than there is room for on the stack. */
function largest(values) {
  return values.reduce((most, value) => Math.max(most, value), -Infinity)
}

/** Numbers that sum to one, in proportion to their exponentials. */
function softmax(scores) {
  const most = largest(scores)
  const exponentials = Float64Array.from(scores, (score) => Math.exp(score - most))
  const sum = exponentials.reduce((total, value) => total + value, 0)
  return exponentials.map((value) => value / sum)
}

/** `log Σ exp` of a few numbers. */
function logSumExp(values) {
  const most = largest(values)
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0))
}
