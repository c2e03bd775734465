// Scaled dot-product attention, and several heads of it (seqrev/model/attention.py). There is no mask here: the page reads
// one source at a time, so nothing is padded, and decodes token by token, so nothing that comes later is there to be seen.

/** `softmax(Q Kᵀ / √d_head)` of one query: the weight of every key. Query and keys have a vector for each address. */
function attentionWeights(query, keys) {
  const scale = Math.sqrt(query[0].length)
  return softmax(
    keys.map((key) => {
      const scores = query.map((vector, address) => dot(vector, key[address]) / scale)
      return scores.length > 1 ? logSumExp(scores) : scores[0]
    })
  )
}

/** The parts of a vector, side by side. */
function split(vector, parts) {
  const width = vector.length / parts
  return Array.from({length: parts}, (_, part) => vector.subarray(part * width, (part + 1) * width))
}

class MultiHeadAttention {
  constructor(weights, name, heads, addresses = 1) {
    for (const part of ["q_proj", "k_proj", "v_proj", "out_proj"]) this[part] = weights.linear(`${name}.${part}`)
    this.heads = heads
    this.addresses = addresses
    this.ablated = new Set() // heads, counted from 0, whose output is zero
  }

  /** Vectors, those of a head side by side, as `[head][address]`. */
  byHead(parts) {
    return Array.from({length: this.heads}, (_, head) => parts.slice(head * this.addresses, (head + 1) * this.addresses))
  }

  /** Keys and values of more positions, at the end of a `cache`, which begins as `[]`. */
  append(cache, context, rotations) {
    const keys = linear(context, this.k_proj)
    const values = linear(context, this.v_proj)
    keys.forEach((key, position) => {
      // A head's vector of each address, rotated by that address's own count of the positions.
      const parts = split(key, this.heads * this.addresses).map((vector, part) =>
        rotations ? applyRotary(vector, rotations[part % this.addresses][position]) : vector
      )
      cache.push({keys: this.byHead(parts), values: split(values[position], this.heads)})
    })
  }

  /** Let `states` attend to what is in the cache: new states, and weights `[head][tgt][src]`. */
  forward(states, cache, rotations = null, scale = 1) {
    const weights = Array.from({length: this.heads}, () => [])
    const found = linear(states, this.q_proj).map((query, position) => {
      const parts = split(query, this.heads * this.addresses).map((vector) =>
        (rotations ? applyRotary(vector, rotations[position]) : vector).map((value) => value * scale)
      )
      const queries = this.byHead(parts)
      const together = new Float64Array(query.length)
      split(together, this.heads).forEach((output, head) => {
        const row = attentionWeights(queries[head], cache.map(({keys}) => keys[head]))
        weights[head].push(row)
        if (this.ablated.has(head)) return
        cache.forEach(({values}, key) => output.forEach((_, i) => (output[i] += row[key] * values[head][i])))
      })
      return together
    })
    return {states: linear(found, this.out_proj), weights}
  }
}
