/* What clients and servers counted meanwhile, for each operation: waits, sleeps, cache hits, writes of the journal. */

const counterSides = ['client', 'server'];
const counterColumnsMax = 12;

function hasCounters(result) {
  return counterSides.some(side => Object.values((result.counters || {})[side] || {}).some(known));
}

function counterResults(benchmark) {
  return benchmark.visiblePhases().flatMap(phase => benchmark.at(phase).filter(hasCounters));
}

/* Times as times, the rest as numbers. */
function counterText(name) {
  return /_ns$/.test(name) ? format.time : /_bytes$/.test(name) ? format.size : format.plain;
}

function counterNames(list, side) {
  return [...new Set(list.flatMap(result => Object.keys((result.counters || {})[side] || {})))].sort();
}

function countersFigure(parent, benchmark) {
  if (!benchmark.results.some(hasCounters)) return undefined;
  const perOperation = (result, side, name) => {
    const value = ((result.counters || {})[side] || {})[name];
    return known(value) && result.operations > 0 ? value / result.operations : undefined;
  };
  return addFigure(parent, {
    file: `${fileName(benchmark.name)}-counters`,
    title: () => 'What clients and servers counted',
    note: () => {
      const point = benchmark.pointText();
      return (point ? `At ${point}. ` : '') + 'For each operation; of clients all that took part, of servers all together.';
    },
    draw: body => {
      const list = counterResults(benchmark);
      if (list.length === 0) return nothingHere(benchmark, hasCounters);
      const shown = list.slice(0, counterColumnsMax);
      const several = new Set(shown.map(result => result.subject)).size > 1;
      const head = element('tr', {}, element('th', {}, ''), element('th', {}, 'counter'),
        ...shown.map(result => element('th', {scope: 'col', class: 'n'}, shorten(several ? `${result.phase} · ${result.subject.label}` : result.phase, 40))));
      const rows = counterSides.flatMap(side => counterNames(shown, side).map((name, i) => element('tr', {}, element('td', {}, i === 0 ? side : ''), element('th', {scope: 'row'}, shorten(name, 48)),
        ...shown.map(result => {
          const value = perOperation(result, side, name);
          return element('td', {class: 'n'}, value === undefined ? missing : counterText(name)(value));
        }))));
      body.append(element('div', {class: 'scroll', tabindex: 0}, element('table', {class: 'counters'}, element('thead', {}, head), element('tbody', {}, ...rows))));
      if (list.length > shown.length) body.append(element('p', {class: 'empty'}, `${list.length - shown.length} more are in the file.`));
    },
    table: () => ({
      columns: identityColumns(benchmark).concat([
        {name: 'side', value: row => row.side},
        {name: 'counter', value: row => row.name},
        {name: 'count', value: row => row.result.counters[row.side][row.name], text: format.plain},
        {name: 'for each operation', value: row => perOperation(row.result, row.side, row.name), text: format.plain},
      ]),
      rows: counterResults(benchmark).flatMap(result => counterSides.flatMap(side => Object.keys((result.counters || {})[side] || {}).map(name => ({result, side, name})))),
    }),
  });
}
