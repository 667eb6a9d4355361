// Convolution by hand: strided, transposed and fractionally strided, on numbers that the reader can change.

const GRID_MATRIX = [ // the worked example of strided convolution in the plan of this project
  [2, 3, 7, 4, 6, 2, 9], [6, 6, 9, 8, 7, 4, 3], [3, 4, 8, 3, 8, 9, 7], [7, 8, 3, 6, 6, 3, 4],
  [4, 2, 1, 8, 3, 4, 6], [3, 2, 4, 1, 9, 8, 3], [0, 1, 3, 9, 2, 1, 4],
];
const GRID_SMALL = [[2, 0, 1], [1, 3, 0], [0, 1, 2]];
const GRID_KERNEL = [[3, 4, 4], [1, 0, 2], [-1, 0, 3]];

/**
 * Slide a kernel over a matrix. As usual in deep learning, the kernel is not turned.
 *
 * `strided`: in steps of `stride` over the matrix. `transposed`: in steps of 1 over the matrix with a border of k − 1
 * zeros. `fractional`: in steps of 1 over the matrix with stride − 1 zeros between neighbours and a border of k // 2.
 * Returns {field, step, result}; a cell of the field is {value, from}, with the cell of the matrix or null for a zero.
 */
function slide(kind, matrix, kernel, stride) {
  const k = kernel.length, gap = kind === "fractional" ? stride : 1;
  const border = {strided: 0, transposed: k - 1, fractional: Math.floor(k / 2)}[kind];
  const side = (matrix.length - 1) * gap + 1 + 2 * border;
  const field = Array.from({length: side}, (_, y) => Array.from({length: side}, (_, x) => {
    const row = (y - border) / gap, column = (x - border) / gap;
    const value = matrix[row]?.[column];
    return value === undefined ? {value: 0, from: null} : {value, from: [row, column]};
  }));
  const step = kind === "strided" ? stride : 1, across = Math.floor((side - k) / step) + 1;
  const result = Array.from({length: across}, (_, y) => Array.from({length: across}, (_, x) =>
    kernel.reduce((sum, row, i) => sum + row.reduce((part, weight, j) => part + weight * field[y * step + i][x * step + j].value, 0), 0)));
  return {field, step, result};
}

function setUpGrid(app) {
  let kind = "strided", chosen = [1, 1];
  const matrices = {strided: GRID_MATRIX, transposed: GRID_SMALL, fractional: GRID_SMALL};
  const matrix = Object.fromEntries(Object.entries(matrices).map(([name, rows]) => [name, rows.map((row) => [...row])]));
  const kernel = GRID_KERNEL.map((row) => [...row]);
  const kinds = [...byId("grid-kinds").children];

  const input = (rows, y, x, name) => {
    const field = make("input", {type: "text", inputMode: "decimal", value: String(rows[y][x]).replace("-", "−"), autocomplete: "off"});
    field.setAttribute("aria-label", say("cell", {name, row: y + 1, column: x + 1}));
    field.addEventListener("focus", () => field.select());
    field.addEventListener("input", () => {
      const value = Number(field.value.replace("−", "-").trim() || 0);
      field.setAttribute("aria-invalid", String(!Number.isFinite(value)));
      if (!Number.isFinite(value)) return;
      rows[y][x] = Math.max(-99, Math.min(99, value));
      refresh();
    });
    return field;
  };
  const table = (rows, cells, caption, tight) => {
    const box = make("div", {className: `cells${tight ? " tight" : ""}`}, ...cells);
    box.style.gridTemplateColumns = `repeat(${rows[0].length}, auto)`;
    return make("figure", {}, box, make("figcaption", {}, caption));
  };
  const short = (value) => String(Math.round(value * 100) / 100).replace("-", "−");

  let built = null;
  const build = () => {
    const stride = Number(byId("stride").value);
    const {field, result} = slide(kind, matrix[kind], kernel, stride);
    chosen = chosen.map((place) => Math.min(place, result.length - 1));
    const fieldCells = field.flatMap((row) => row.map(({from}) =>
      from ? input(matrix[kind], ...from, say("matrix")) : make("span", {className: "zero"}, "0")));
    const kernelCells = kernel.flatMap((row, y) => row.map((_, x) => input(kernel, y, x, say("kernel"))));
    const resultCells = result.flatMap((row, y) => row.map((_, x) => {
      const cell = make("button", {type: "button"});
      const choose = () => {
        chosen = [y, x];
        refresh();
      };
      cell.addEventListener("click", choose);
      cell.addEventListener("pointerenter", choose);
      cell.addEventListener("focus", choose);
      return cell;
    }));
    built = {fieldCells, resultCells};
    byId("grids").replaceChildren(
      table(field, fieldCells, say(kind === "strided" ? "matrix" : "field"), field.length > 7), make("span", {}, "∗"),
      table(kernel, kernelCells, say("kernel")), make("span", {}, "="),
      table(result, resultCells, say("result"), result.length > 5));
    byId("grid-about").textContent = say(`about_${kind}`, {stride});
    refresh();
  };

  const refresh = () => {
    const {field, step, result} = slide(kind, matrix[kind], kernel, Number(byId("stride").value));
    const [top, left] = chosen.map((place) => place * step), k = kernel.length;
    built.fieldCells.forEach((cell, i) => {
      const y = Math.floor(i / field.length), x = i % field.length;
      cell.classList.toggle("in", y >= top && y < top + k && x >= left && x < left + k);
    });
    built.resultCells.forEach((cell, i) => {
      const y = Math.floor(i / result.length), x = i % result.length, here = y === chosen[0] && x === chosen[1];
      cell.textContent = short(result[y][x]);
      cell.classList.toggle("out", here);
    });
    const parts = kernel.flatMap((row, i) => row.map((weight, j) => {
      const cell = field[top + i][left + j];
      return cell.from ? `${short(cell.value)}·${weight < 0 ? `(${short(weight)})` : short(weight)}` : null;
    })).filter(Boolean);
    const zeros = k * k - parts.length;
    byId("grid-sum").textContent = say(zeros ? "grid_sum_zeros" : "grid_sum", {
      sum: parts.join(" + ") || "0", result: short(result[chosen[0]][chosen[1]]), zeros,
    });
  };

  kinds.forEach((button) => button.addEventListener("click", () => {
    kind = button.dataset.kind;
    kinds.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    build();
  }));
  byId("stride").addEventListener("change", build);
  app.speakGrid = build;
  build();
}
