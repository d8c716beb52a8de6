/* Heat maps over any two parameters that are numbers and vary. The colours are those of cividis, which reads the
   same with and without full colour vision, and grows in lightness alone when printed in grey. */

const cividis = ['#00224e', '#123570', '#3b496c', '#575d6d', '#707173', '#8a8678', '#a59c74', '#c3b369', '#e1cc55', '#fee838'];
const cividisColor = d3.interpolateRgbBasis(cividis);
/* Ratios: blue below one, orange above, grey where both are alike. */
const ratioColor = d3.interpolateRgbBasis(['#2c5e93', '#7aa3cc', '#d9dce0', '#e0a868', '#b3560b']);

function inkOn(color) {
  const {r, g, b} = d3.rgb(color);
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? '#111111' : '#ffffff';
}

const heatMeasures = [
  {name: 'bandwidth', value: result => result.bytes_per_s, text: format.bandwidth},
  {name: 'operations per second', value: result => result.ops_per_s, text: format.ops},
  {name: 'p50 latency', value: result => result.p50_ns, text: format.time},
  {name: 'p99 latency', value: result => result.p99_ns, text: format.time},
  {name: 'p99.9 latency', value: result => result.p999_ns, text: format.time},
];

function heatFigure(parent, benchmark) {
  const numeric = benchmark.varying.filter(name => benchmark.values.get(name).length > 1 && benchmark.values.get(name).every(value => typeof value === 'number'));
  if (benchmark.results.some(result => result.clients !== undefined)) numeric.push('clients');
  if (numeric.length < 2) return undefined;
  const state = {x: numeric[0], y: numeric.includes('depth') && numeric[0] !== 'depth' ? 'depth' : numeric[1]};
  // The first phase that has both, and varies them.
  const varies = (phase, name) => new Set(benchmark.results.filter(result => result.phase === phase).map(result => parameterOrClients(result, name))).size;
  state.phase = benchmark.phases.find(phase => varies(phase, state.x) > 1 && varies(phase, state.y) > 1) || benchmark.phases[0];
  const pairOf = () => [...new Set([state.x, state.y].flatMap(name => name === 'clients' ? ['clients', 'processes', 'threads'] : [name]))];
  const found = () => benchmark.at(state.phase, pairOf());
  const own = benchmark.ownMeasures().map(key => ({name: measures[key].name, value: result => result[key], text: measures[key].text}));
  const usable = heatMeasures.concat(own).filter(each => benchmark.results.some(result => each.value(result) > 0));
  if (usable.length === 0) return undefined;
  state.measure = usable.find(each => each.name === measures[benchmark.naturalMeasure(state.phase)].name) || usable[0];
  const ratios = benchmark.subjects.length > 1 ? benchmark.subjects.map(subject => ({
    name: `ratio to ${subject.label}`, against: subject, text: format.ratio,
  })) : [];
  const changed = key => value => {
    state[key] = value;
    figure.update();
  };
  const textOf = name => value => parameterText(name, value);

  /* Cells of one subject: the value is a measure, or the ratio of the phase's rate to that of another. */
  const cellsOf = (subject, list) => {
    const cells = [];
    for (const result of list.filter(each => each.subject === subject)) {
      const x = parameterOrClients(result, state.x);
      const y = parameterOrClients(result, state.y);
      let value;
      if (state.measure.against) {
        const against = list.find(each => each.subject === state.measure.against && parameterOrClients(each, state.x) === x && parameterOrClients(each, state.y) === y);
        const compared = against && compare(result, against, benchmark.rateOf(state.phase));
        value = compared && compared.ratio;
      } else value = state.measure.value(result);
      if (known(value) && value > 0 && x !== undefined && y !== undefined) cells.push({result, x, y, value});
    }
    return cells;
  };
  const all = () => {
    const list = found();
    return benchmark.visibleSubjects().filter(subject => subject !== state.measure.against)
      .map(subject => ({subject, cells: cellsOf(subject, list)})).filter(each => each.cells.length > 0).slice(0, panelsMax);
  };

  const figure = addFigure(parent, {
    file: `${fileName(benchmark.name)}-heat`,
    title: () => `${state.measure.name.replace(/^./, letter => letter.toUpperCase())} of ${state.phase} by ${state.x} and ${state.y}`,
    note: () => {
      const point = benchmark.pointText(pairOf());
      return (point ? `At ${point}. ` : '') + 'One colour scale for all targets, logarithmic.';
    },
    controls: [
      select('phase', benchmark.phases, state.phase, benchmark.phases, changed('phase')),
      select('across', numeric, state.x, numeric, changed('x')),
      select('up', numeric, state.y, numeric, changed('y')),
      select('colour', usable.concat(ratios), state.measure, usable.concat(ratios).map(each => each.name), changed('measure')),
    ],
    draw: (body, width) => {
      if (state.x === state.y) return 'Choose two different parameters.';
      const list = all();
      if (list.length === 0) return nothingHere(benchmark);
      const values = list.flatMap(each => each.cells.map(cell => cell.value));
      let domain = [d3.min(values), d3.max(values)];
      let color;
      if (state.measure.against) {
        const reach = Math.max(1.1, domain[1], 1 / domain[0]);
        domain = [1 / reach, reach];
        color = value => ratioColor(Math.log(value / domain[0]) / Math.log(domain[1] / domain[0]));
      } else color = value => cividisColor(domain[1] > domain[0] ? Math.log(value / domain[0]) / Math.log(domain[1] / domain[0]) : 0.5);
      panels(body, width, list, 330, each => each.subject.label, (node, own, each) => drawHeat(node, own, each.cells, state, color, textOf));
      const ramp = element('i');
      ramp.style.background = `linear-gradient(to right, ${d3.range(0, 1.01, 0.1).map(state.measure.against ? ratioColor : cividisColor).join(',')})`;
      body.append(element('div', {class: 'ramp'}, trimmed(state.measure.text(domain[0])), ramp, trimmed(state.measure.text(domain[1]))));
    },
    table: () => ({
      columns: identityColumns(benchmark, state.x === 'clients' || state.y === 'clients' ? ['clients'] : [])
        .concat([{name: state.measure.name, value: row => row.value, text: state.measure.text}]),
      rows: state.x === state.y ? [] : all().flatMap(each => each.cells),
    }),
  });
  return figure;
}

function drawHeat(node, width, cells, state, color, textOf) {
  const xs = [...new Set(cells.map(cell => cell.x))].sort(compareValues);
  const ys = [...new Set(cells.map(cell => cell.y))].sort(compareValues);
  const cellHeight = ys.length > 16 ? Math.max(8, 320 / ys.length) : 26;
  const frame = picture(node, width, ys.length * cellHeight + 52, {left: 62, right: 4, top: 16, bottom: 36}, `Heat map of ${cells.length} cells`);
  const x = d3.scaleBand().domain(xs).range([0, Math.min(frame.width, xs.length * 92)]);
  const y = d3.scaleBand().domain(ys).range([frame.height, 0]);
  const shapes = frame.inner.selectAll('g.cell').data(cells).enter().append('g').attr('class', 'cell').attr('transform', cell => `translate(${x(cell.x)},${y(cell.y)})`);
  const gap = x.bandwidth() > 12 ? 1 : 0;
  shapes.append('rect').attr('width', Math.max(1, x.bandwidth() - gap)).attr('height', Math.max(1, y.bandwidth() - gap)).style('fill', cell => color(cell.value));
  // As large as the longest of the texts allows, at about 0.56 of its size for a letter.
  const letters = d3.max(cells, cell => state.measure.text(cell.value).length);
  const letterSize = Math.min(11, (x.bandwidth() - 4) / (0.56 * letters));
  if (letterSize >= 8 && cellHeight >= 16)
    shapes.append('text').style('font-size', `${letterSize.toFixed(1)}px`).attr('x', x.bandwidth() / 2).attr('y', cellHeight / 2).attr('dy', '0.35em').attr('text-anchor', 'middle')
      .style('fill', cell => inkOn(color(cell.value))).text(cell => state.measure.text(cell.value));
  tipOn(shapes, cell => `${cell.result.subject.label}\n${cell.result.phase} ${settingText(cell.result, Object.keys(cell.result.parameters))}\n${state.measure.text(cell.value)}`);
  const every = (list, room) => list.filter((value, i) => i % Math.max(1, Math.ceil(room)) === 0);
  frame.inner.append('g').attr('class', 'axis').selectAll('text').data(every(xs, 46 / x.bandwidth())).enter().append('text')
    .attr('x', value => x(value) + x.bandwidth() / 2).attr('y', frame.height + 14).attr('text-anchor', 'middle').text(textOf(state.x));
  frame.inner.append('g').attr('class', 'axis').selectAll('text').data(every(ys, 13 / y.bandwidth())).enter().append('text')
    .attr('x', -6).attr('y', value => y(value) + y.bandwidth() / 2).attr('dy', '0.35em').attr('text-anchor', 'end').text(textOf(state.y));
  frame.inner.append('text').attr('x', x.range()[1]).attr('y', frame.height + 30).attr('text-anchor', 'end').text(state.x);
  frame.inner.append('text').attr('x', -6).attr('y', -6).attr('text-anchor', 'end').text(state.y);
}
