// The weights of one stage of the training, as they are in the page: base64 of all tensors in turn, little-endian.

class Weights {
  /** `shapes`: name and number of values of every tensor, in order; `stage`: `{dtype, base64}`. */
  constructor(shapes, {dtype, base64}) {
    const bytes = decodeBase64(base64)
    const values = dtype === "float16" ? decodeFloat16(new Uint16Array(bytes.buffer)) : new Float32Array(bytes.buffer)
    this.tensors = new Map()
    let at = 0
    for (const [name, size] of shapes) {
      this.tensors.set(name, values.subarray(at, at + size))
      at += size
    }
  }

  get(name) {
    return this.tensors.get(name)
  }

  /** Weight and bias of a linear layer, or of a norm. */
  linear(name) {
    return {weight: this.get(`${name}.weight`), bias: this.get(`${name}.bias`)}
  }
}

function decodeBase64(text) {
  const characters = atob(text)
  const bytes = new Uint8Array(characters.length)
  for (let index = 0; index < bytes.length; index++) bytes[index] = characters.charCodeAt(index)
  return bytes
}

/** Half precision: a sign, five bits of exponent, ten of fraction. There is no infinity among weights. */
function decodeFloat16(halves) {
  return Float32Array.from(halves, (half) => {
    const exponent = (half >> 10) & 31
    const fraction = half & 1023
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24
    return half >> 15 ? -size : size
  })
}
