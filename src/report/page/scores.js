/* What "benchfs bench compare" found, as it found it. */
function comparisonsSection(parent) {
  const rows = data.comparisons.filter(each => known(each.ratio) && each.ratio > 0);
  if (rows.length === 0) return;
  parent.append(element('h2', {id: 'comparisons'}, 'Compared'));
  const count = verdict => rows.filter(row => row.verdict === verdict).length;
  const words = [...new Set(rows.map(row => String(row.verdict)))].map(verdict => `${verdict} in ${count(verdict)}`);
  parent.append(element('p', {class: 'lead'}, `benchfs bench compare judged ${rows.length === 1 ? 'one pair' : `${rows.length} pairs`}: ${listing(words)}.`));
  const place = element('div', {class: 'figures'});
  parent.append(place);
  const settings = row => Object.entries(row.parameters || {}).map(([name, value]) => `${name} ${parameterText(name, value)}`).join(', ');
  const side = (row, name, key) => (row[name] || {})[key];
  // What all rows have in common is said once.
  const varies = (list, value) => new Set(list.map(value)).size > 1;
  const names = [...new Set(rows.flatMap(row => Object.keys(row.parameters || {})))].filter(name => varies(rows, row => (row.parameters || {})[name]));
  const sideText = (row, name) => [varies(rows, each => JSON.stringify([side(each, 'base', 'target'), side(each, 'other', 'target')])) || side(row, 'base', 'target') !== side(row, 'other', 'target')
    ? String(side(row, name, 'target')).replace(/:$/, '') : '', side(row, 'base', 'file') !== side(row, 'other', 'file') ? side(row, name, 'file') : ''].filter(Boolean).join(' in ');
  const pair = row => `${sideText(row, 'other')} against ${sideText(row, 'base')}`;
  const onePair = !varies(rows, pair);
  const label = row => [varies(rows, each => each.benchmark) ? row.benchmark : '', row.phase,
    names.filter(name => (row.parameters || {})[name] !== undefined).map(name => `${name} ${parameterText(name, row.parameters[name])}`).join(', '),
    onePair ? '' : `(${pair(row)})`].filter(Boolean).join(' ');
  const verdicts = {faster: 'var(--c2)', slower: 'var(--c1)'};
  addFigure(place, {
    file: 'comparisons',
    title: () => onePair && sideText(rows[0], 'base') ? `Ratio of ${shorten(sideText(rows[0], 'other'), 60)} to ${shorten(sideText(rows[0], 'base'), 60)}` : 'Ratio of the other side to the base',
    note: () => 'With 95 % intervals; green: faster, orange: slower, grey: no verdict. The grey band is the noise floor.',
    draw: (body, width) => {
      const shown = rows.slice(0, 80);
      const left = labelRoom(shown.map(label), width);
      const frame = picture(body, width, shown.length * 16 + 30, {left, right: 64, top: 2, bottom: 28}, `Ratios of ${shown.length} pairs`);
      const domain = logDomain(shown.flatMap(row => [row.ratio, row.ratio_low, row.ratio_high, 0.95, 1.05]));
      const x = d3.scaleLog().domain(domain).clamp(true).range([0, frame.width]);
      const ticks = logTicks(domain, frame.width / 60);
      axis(frame, 'bottom', x, ticks.includes(1) ? ticks : ticks.concat(1), ratioText);
      const groups = frame.inner.selectAll('g.row').data(shown).enter().append('g').attr('transform', (row, i) => `translate(0,${i * 16 + 8})`);
      groups.filter(row => row.noise_floor > 1).append('rect').attr('x', row => x(1 / row.noise_floor)).attr('width', row => x(row.noise_floor) - x(1 / row.noise_floor))
        .attr('y', -7).attr('height', 14).style('fill', 'var(--grid)');
      groups.append('text').attr('class', 'label').attr('x', -8).attr('dy', '0.35em').attr('text-anchor', 'end').text(row => fitted(label(row), left - 10));
      groups.filter(row => row.ratio_low > 0 && row.ratio_high > 0).append('line').attr('x1', row => x(row.ratio_low)).attr('x2', row => x(row.ratio_high))
        .style('stroke', row => verdicts[row.verdict] || 'var(--c6)').attr('stroke-width', 1.6);
      groups.append('circle').attr('r', 3.6).attr('cx', row => x(row.ratio)).style('fill', row => verdicts[row.verdict] || 'var(--c6)');
      groups.append('text').attr('class', 'value').attr('x', frame.width + 8).attr('dy', '0.35em').text(row => format.ratio(row.ratio));
      frame.inner.append('line').attr('class', 'zero').attr('x1', x(1)).attr('x2', x(1)).attr('y2', frame.height).style('stroke', 'var(--ink)');
      tipOn(groups, row => `${label(row)}\n${side(row, 'other', 'target')} ${side(row, 'other', 'file')}\nagainst ${side(row, 'base', 'target')} ${side(row, 'base', 'file')}\n${row.verdict}`);
      return undefined;
    },
    table: () => ({
      columns: [
        {name: 'benchmark', value: row => row.benchmark}, {name: 'phase', value: row => row.phase}, {name: 'parameters', value: settings},
        {name: 'base', value: row => side(row, 'base', 'target')}, {name: 'base file', value: row => side(row, 'base', 'file')},
        {name: 'other', value: row => side(row, 'other', 'target')}, {name: 'other file', value: row => side(row, 'other', 'file')},
        {name: 'unit', value: row => row.unit},
        {name: 'base rate', value: row => side(row, 'base', 'rate'), text: format.plain}, {name: 'other rate', value: row => side(row, 'other', 'rate'), text: format.plain},
        {name: 'ratio', value: row => row.ratio, text: format.ratio}, {name: 'low', value: row => row.ratio_low, text: format.ratio}, {name: 'high', value: row => row.ratio_high, text: format.ratio},
        {name: 'Cliff’s delta', value: row => row.delta, text: format.plain}, {name: 'effect', value: row => row.effect},
        {name: 'noise floor', value: row => row.noise_floor, text: format.ratio}, {name: 'verdict', value: row => row.verdict},
      ],
      rows,
    }),
  });
}

/* Scores of IO500: never without the word that they are no submission. */

function scoresSection(parent) {
  if (data.scores.length === 0) return;
  parent.append(element('h2', {id: 'scores'}, 'IO500 score, not a submission'));
  parent.append(element('p', {class: 'lead'}, 'The score is the geometric mean of bandwidth (GiB/s) and metadata rate (kIOPS), each the geometric mean of its phases. '
    + 'These runs keep to the order of the phases and to the formula, not to all rules of the list: they can be compared with each other only.'));
  const place = element('div', {class: 'figures'});
  parent.append(place);
  const rows = data.scores.map(score => {
    const of = results.find(result => runs[result.run].id === score.run && result.target === score.target);
    return {...score, subject: of ? of.subject : undefined, label: of ? of.subject.label : score.target};
  });
  const kinds = [
    {key: 'score', title: 'score', text: value => digits(value)},
    {key: 'bandwidth_gib_s', title: 'bandwidth, GiB/s', text: value => digits(value)},
    {key: 'metadata_kiops', title: 'metadata, kIOPS', text: value => digits(value)},
  ];
  addFigure(place, {
    file: 'io500-scores',
    title: () => 'IO500 score, not a submission',
    note: () => 'With the two values that it is made of.',
    draw: (body, width) => {
      panels(body, width, kinds, 300, kind => kind.title, (node, own, kind) => {
        const left = labelRoom(rows.map(row => row.label), own, 0.45);
        const frame = picture(node, own, rows.length * 18 + 26, {left, right: 60, top: 2, bottom: 24}, kind.title);
        const x = d3.scaleLinear().domain([0, d3.max(rows, row => row[kind.key]) || 1]).range([0, frame.width]);
        axis(frame, 'bottom', x, x.ticks(3), format.plain);
        const bars = frame.inner.selectAll('g.row').data(rows).enter().append('g').attr('transform', (row, i) => `translate(0,${i * 18 + 2})`);
        bars.append('rect').attr('class', 'bar').attr('height', 12).attr('width', row => Math.max(0.5, x(row[kind.key] || 0)))
          .style('fill', row => row.subject ? row.subject.color : 'var(--c6)');
        bars.append('text').attr('class', 'label').attr('x', -8).attr('y', 6).attr('dy', '0.35em').attr('text-anchor', 'end').text(row => fitted(row.label, left - 10));
        bars.append('text').attr('class', 'value').attr('x', row => x(row[kind.key] || 0) + 6).attr('y', 6).attr('dy', '0.35em').text(row => kind.text(row[kind.key]));
      });
    },
    table: () => ({
      columns: [
        {name: 'target', value: row => row.target}, {name: 'run', value: row => row.run},
        ...kinds.map(kind => ({name: kind.title, value: row => row[kind.key]})),
        {name: 'note', value: () => 'not a submission'},
      ],
      rows,
    }),
  });
}
