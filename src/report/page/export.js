/* The table behind each figure, and the same as a file of comma separated values (RFC 4180).

   A column is {name, value(row), text}: value gives the raw number or word that goes into the file, text how
   the page writes it (a number is written plain without it). */

const tableRowsMax = 500;

function csvCell(value) {
  if (value === undefined || value === null) return '';
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : '';
  let text = String(value);
  // A spreadsheet would take such a word for a formula and run it.
  if (/^[=+@\t\r-]/.test(text)) text = "'" + text;
  return /[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
}

function csvText(table) {
  const lines = [table.columns.map(column => csvCell(column.name)).join(',')];
  for (const row of table.rows) lines.push(table.columns.map(column => csvCell(column.value(row))).join(','));
  return lines.join('\r\n') + '\r\n';
}

function download(name, text, type) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], {type}));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
}

function tableElement(table) {
  const numeric = column => table.rows.length > 0 && table.rows.slice(0, 50).every(row => {
    const value = column.value(row);
    return value === undefined || value === null || typeof value === 'number';
  });
  const classes = table.columns.map(column => numeric(column) ? 'n' : null);
  const head = element('tr', {}, ...table.columns.map((column, i) => element('th', {class: classes[i], scope: 'col'}, column.name)));
  const body = element('tbody');
  for (const row of table.rows.slice(0, tableRowsMax))
    body.append(element('tr', {}, ...table.columns.map((column, i) => {
      const value = column.value(row);
      const text = value === undefined || value === null ? missing : (column.text || format.plain)(value);
      return element('td', {class: classes[i]}, String(text));
    })));
  const node = element('table', {}, element('thead', {}, head), body);
  const rest = table.rows.length - tableRowsMax;
  if (rest <= 0) return node;
  return element('div', {}, node, element('p', {class: 'empty'}, `${format.count(rest)} more rows are in the CSV file.`));
}

/* Columns that tell which result a row is of. */
function identityColumns(benchmark, free = []) {
  const columns = [
    {name: 'target', value: row => row.result.target, text: value => shorten(value, 60)},
    {name: 'phase', value: row => row.result.phase},
  ];
  if (benchmark.runs.length > 1) columns.unshift({name: 'run', value: row => runs[row.result.run].id});
  for (const name of (benchmark.comparedParameter === undefined ? [] : [benchmark.comparedParameter]).concat(benchmark.varying, benchmark.bySubject, free))
    columns.push({name, value: row => parameterOrClients(row.result, name), text: value => parameterText(name, value)});
  return columns;
}

function rateColumns(measure) {
  const {text, unit} = measures[measure];
  return [
    {name: unit, value: row => row.result[measure], text},
    {name: unit + ' low', value: row => row.result[measure + '_low'], text},
    {name: unit + ' high', value: row => row.result[measure + '_high'], text},
  ];
}

function ownMeasureColumns(benchmark) {
  return benchmark.ownMeasures().map(key => ({name: measures[key].unit, value: row => row.result[key], text: measures[key].text}));
}

function latencyColumns() {
  return [['p50 ns', 'p50_ns'], ['p99 ns', 'p99_ns'], ['p99.9 ns', 'p999_ns'], ['max ns', 'max_ns']]
    .map(([name, key]) => ({name, value: row => row.result[key], text: format.time}));
}
