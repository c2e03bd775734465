// A map: cells on a canvas, one pixel each, that the style sheet stretches; labels and frames are elements above it.

/** An element with properties and children; text is text, never HTML. */
function create(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties)
  element.append(...children)
  return element
}

/** Colour the first `shown` rows of a grid; the others stay empty. `palette`: 256 colours, `[red, green, blue]`. */
function drawCells(canvas, grid, shown, palette) {
  canvas.width = grid.columns
  canvas.height = grid.rows
  const context = canvas.getContext("2d")
  const image = context.createImageData(grid.columns, grid.rows)
  for (let cell = 0; cell < Math.min(shown, grid.rows) * grid.columns; cell++) {
    const colour = palette[Math.min(255, Math.floor(grid.values[cell] * 256))]
    image.data.set([...colour, 255], 4 * cell)
  }
  context.putImageData(image, 0, 0)
}

function parsePalette(colours) {
  return colours.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)))
}

/** What the colours mean, from weight 0 to weight 1. */
function createLegend(palette) {
  const bar = create("span", {className: "scale"})
  bar.style.background = `linear-gradient(to right, ${palette.map((colour) => `rgb(${colour})`)})`
  const about = {className: "legend", role: "img", ariaLabel: "weight: from 0, dark, to 1, bright"}
  return create("span", about, "0", bar, "1")
}

/** A large map with its labels. */
class MapView {
  constructor(palette, onPoint) {
    this.palette = palette
    this.canvas = create("canvas")
    this.marks = create("div", {className: "marks"})
    this.cells = create("div", {className: "cells", role: "img"}, this.canvas, this.marks)
    this.columns = create("div", {className: "columns", ariaHidden: "true"})
    this.rows = create("div", {className: "rows", ariaHidden: "true"})
    this.rowTitle = create("span", {className: "row-title"})
    this.columnTitle = create("span", {className: "column-title"})
    const above = create("div", {className: "above"}, this.columnTitle, createLegend(palette))
    this.element = create("div", {className: "map"}, above, this.columns, this.rowTitle, this.rows, this.cells)
    this.cells.addEventListener("pointermove", (event) => onPoint(this.cellAt(event)))
    this.cells.addEventListener("pointerleave", () => onPoint(null))
    new ResizeObserver(() => this.view && this.label()).observe(this.cells)
  }

  /**
   * `view`: `{grid, rows, columns, titles, shownRows, shownColumns, guide, current, description}`. Tokens beyond the first
   * `shown` ones are not emitted yet: they have no label. `guide`: the column to be framed in each of the first rows.
   */
  update(view) {
    this.view = view
    drawCells(this.canvas, view.grid, view.shownRows, this.palette)
    this.marks.replaceChildren()
    view.guide.forEach((column, row) => this.mark("guide", row, column, 1))
    if (view.current >= 0) this.mark("current", view.current, 0, view.grid.columns)
    ;[this.rowTitle.textContent, this.columnTitle.textContent] = view.titles
    this.cells.ariaLabel = view.description
    this.label()
  }

  mark(className, row, column, width) {
    const {rows, columns} = this.view.grid
    const mark = create("div", {className})
    mark.style.left = `${(100 * column) / columns}%`
    mark.style.top = `${(100 * row) / rows}%`
    mark.style.width = `${(100 * width) / columns}%`
    mark.style.height = `${100 / rows}%`
    this.marks.append(mark)
  }

  /** Write the labels for which there is room: all, or every second, third, … */
  label() {
    const {grid, rows, columns, shownRows, shownColumns} = this.view
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize)
    const symbol = Math.max(...columns.filter((token) => !token.startsWith("<")).map((token) => token.length), 1)
    const width = this.cells.clientWidth / rem / grid.columns
    const height = this.cells.clientHeight / rem / grid.rows
    this.marks.classList.toggle("fine", Math.min(width, height) < 1)
    const upright = width < 3.5 // there is no room for <BOS> across
    this.columns.classList.toggle("upright", upright)
    writeLabels(this.columns, "left", columns, shownColumns, Math.ceil((upright ? Math.max(1.1, 0.7 * symbol) : 0) / width))
    writeLabels(this.rows, "top", rows, shownRows, Math.ceil(1.15 / height))
  }

  /** Row and column under the pointer; null: that row is not there yet. */
  cellAt(event) {
    const box = this.cells.getBoundingClientRect()
    const {grid, shownRows} = this.view
    const row = Math.floor(((event.clientY - box.top) / box.height) * grid.rows)
    const column = Math.floor(((event.clientX - box.left) / box.width) * grid.columns)
    return row >= 0 && row < shownRows && column >= 0 && column < grid.columns ? {row, column} : null
  }
}

function writeLabels(element, side, tokens, shown, every) {
  const step = Number.isFinite(every) ? Math.max(1, every) : tokens.length
  element.replaceChildren(
    ...tokens.slice(0, shown).flatMap((token, index) => {
      if (index % step) return []
      const label = create("span", {className: token.startsWith("<") ? "special" : ""}, token)
      label.style[side] = `${(100 * (index + 0.5)) / tokens.length}%`
      return [label]
    })
  )
}
