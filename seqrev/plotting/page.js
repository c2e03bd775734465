// Updates one type of attention. Bokeh runs this when the page has loaded, when a control has changed, and when the mouse
// has moved over the map. Names that are not declared here are the arguments that page_parts.py gives.
const [, heads, rows, columns] = weights.shape
const chosen = layer.active * heads + head.active
const weight = (row, column) => weights[(chosen * rows + row) * columns + column] / 65535
const decoded = step == null ? rows : Math.min(step.value, rows) // rows emitted so far

const moved = cb_obj.event_name == "mousemove"
const pointed = moved ? Math.round(cb_obj.y) : -1
const row = pointed >= 0 && pointed < decoded ? pointed : decoded - 1
if (moved && row == highlight.data.row[0]) return

if (!moved) {
  const {ndarray} = Bokeh.require("core/util/ndarray")
  const shown = Float32Array.from({length: rows * columns}, (_, cell) =>
    cell < decoded * columns ? weight(Math.floor(cell / columns), cell % columns) : NaN)
  cells.data = {image: [ndarray(shown, {dtype: "float32", shape: [rows, columns]})]}
  map_title.text = captions[chosen] ?? ""
}
highlight.data = {row: [row]}
bars.data = {...bars.data, weight: Array.from(bars.data.column, (column) => weight(row, column))}
strip_title.text = `attention weights of ${row_names[row]}`
