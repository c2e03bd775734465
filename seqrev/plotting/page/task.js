// The task (seqrev/task.py): the rules, which say what source symbol is emitted at each step, and sequences that are typed.

const RULES = {
  reverse: (source) => [...source.keys()].reverse(),
  copy: (source) => [...source.keys()],
  sort: (source) => [...source.keys()].sort((one, other) => source[one] - source[other]), // stable
  rotate: (source) => [...source.keys()].map((index) => (index + 1) % source.length),
  swap: (source) => [...source.keys()].map((index) => Math.min(index ^ 1, source.length - 1)),
  odd_first: (source) => [...source.keys()].sort((one, other) => (one % 2) - (other % 2)),
  repeat: (source) => [...source.keys()].flatMap((index) => [index, index]),
}

/** The indices into the source at which a perfect model looks, in each row but the last; null: there is no rule. */
function alignment(source, rule) {
  return rule in RULES ? RULES[rule](source) : null
}

/**
 * Symbols from what somebody typed, as `seqrev decode` reads them; an Error, with the reason, for anything else.
 *
 * Where every symbol is a digit, spaces may be left out, too: 4829.
 */
function parseSequence(text, symbols, longest) {
  const typed = text.replaceAll(",", " ").split(/\s+/).filter(Boolean)
  const words = symbols <= 10 && typed.length === 1 && /^\d+$/.test(typed[0]) ? [...typed[0]] : typed
  if (!words.length) throw new Error("Type at least one symbol.")
  for (const word of words) {
    if (/^\d{1,20}$/.test(word) && Number(word) < symbols) continue
    const shown = word.length > 12 ? `${word.slice(0, 12)}…` : word
    throw new Error(`${shown} is not a symbol; the symbols are 0 to ${symbols - 1}, with spaces between them.`)
  }
  if (words.length > longest) throw new Error(`These are ${words.length} symbols; this page takes 1 to ${longest}.`)
  return words.map(Number)
}
