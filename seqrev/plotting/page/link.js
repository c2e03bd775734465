// What the page shows, as the part of its address after "#", so that it can be kept, and shared:
// #sequence=4+8+2+9&token=3&map=cross.2&stage=step+64&off=cross.1.1

/** A head by its name, as `--ablate` takes it, `cross.1.4`; the mean over the heads, head 0, is `cross.1`. */
const headName = ({kind, layer, head}) => [kind, layer, ...(head ? [head] : [])].join(".")

/** What a name stands for, `{kind, layer, head}`; null: the model has no such head. */
function parseHead(name, config) {
  const all = layersOf(config).flatMap(([kind, layer]) =>
    Array.from({length: config.heads + 1}, (_, head) => ({kind, layer, head}))
  )
  return all.find((head) => headName(head) === name) ?? null
}

/** `stages`: the names of those that are shown, from left to right; `off`: heads. */
function writeLink({source, step, map, stages, off}) {
  const fields = [
    ["sequence", source.join(" ")],
    ["token", step],
    ["map", headName(map)],
    ...stages.map((stage) => ["stage", stage]),
    ...off.map((head) => ["off", headName(head)]),
  ]
  return `#${new URLSearchParams(fields)}`
}

/** What `writeLink` wrote; what is not there, or not of this model, is left out. The sequence is text, as if typed. */
function readLink(hash, config) {
  const fields = new URLSearchParams(hash.slice(1))
  const heads = (name) => fields.getAll(name).map((one) => parseHead(one, config)).filter(Boolean)
  return {
    sequence: fields.get("sequence"),
    step: Number.parseInt(fields.get("token")) || 1,
    map: heads("map")[0] ?? {},
    stages: fields.getAll("stage"),
    off: heads("off").filter(({head}) => head),
  }
}
