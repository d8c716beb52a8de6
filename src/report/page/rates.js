/* Bars of bandwidth and operations per second with their intervals and the calibrated limits; and ratios to a
   baseline. Bars start at zero and are never logarithmic. */

const groupsMax = 40;

/* Groups of bars for one panel: one group a value of the axis, or a phase when nothing varies. Of these measures, each of
   the phases that shows it, in shows(phase, measure). */
function barPanels(benchmark, keys = ['bytes_per_s', 'ops_per_s', ...benchmark.ownMeasures()], shows = (phase, measure) => benchmark.measureOf(phase) === measure) {
  const phases = benchmark.visiblePhases();
  const axisVaries = phase => benchmark.axis && benchmark.valuesOfPhase.get(phase).get(benchmark.axis).size > 1;
  const list = [];
  for (const measure of keys) {
    const flat = {title: '', measure, groups: []};
    for (const phase of phases.filter(each => shows(each, measure))) {
      const found = benchmark.at(phase, benchmark.axis ? [benchmark.axis] : []).filter(result => known(result[measure]) || (!measures[measure].own && didNothing(result)));
      if (found.length === 0) continue;
      if (!axisVaries(phase)) {
        flat.groups.push({label: phase, results: found});
        continue;
      }
      const values = benchmark.values.get(benchmark.axis).filter(value => found.some(result => parameterValue(result, benchmark.axis) === value));
      list.push({
        title: phase, measure,
        groups: values.map(value => ({
          label: parameterText(benchmark.axis, value),
          results: found.filter(result => parameterValue(result, benchmark.axis) === value),
        })),
      });
    }
    if (flat.groups.length > 0) list.push(flat);
  }
  for (const panel of list) {
    panel.left = panel.groups.length - groupsMax;
    panel.groups = panel.groups.slice(0, groupsMax);
    for (const group of panel.groups) group.results = group.results.slice().sort((a, b) => a.subject.index - b.subject.index);
  }
  return list;
}

/* The limits of a group, and which of its bars they hold for: {limit, first, last}. */
function groupLimits(group, measure) {
  const limits = new Map();
  group.results.forEach((result, i) => {
    for (const limit of applicableLimits(result, measure)) {
      if (!limits.has(limit)) limits.set(limit, {limit, first: i});
      limits.get(limit).last = i;
    }
  });
  return [...limits.values()];
}

function drawBars(node, width, panel) {
  const thick = panel.groups.some(group => group.results.length > 4) ? 9 : 12;
  const between = 8;
  const measure = measures[panel.measure];
  const left = labelRoom(panel.groups.map(group => group.label), width, 0.36);
  let y = 0;
  const bars = [];
  const places = [];
  for (const group of panel.groups) {
    places.push({group, top: y, bottom: y + group.results.length * (thick + 1) - 1});
    for (const result of group.results) {
      bars.push({result, y, ...interval(result, panel.measure)});
      y += thick + 1;
    }
    y += between;
  }
  y = Math.max(1, y - between);
  const repeats = bar => (bar.result.samples || {})[panel.measure] || [];
  const furthest = bar => Math.max(bar.median || 0, bar.known ? bar.high : 0, ...repeats(bar));
  const highest = Math.max(...bars.map(furthest)) || 1;
  // Limits within reach take part in the scale; those far beyond are named at the edge.
  const marks = [];
  const beyond = new Map();
  for (const place of places)
    for (const {limit, first, last} of groupLimits(place.group, panel.measure)) {
      if (limit.value <= 2 * highest) marks.push({top: place.top + first * (thick + 1), bottom: place.top + last * (thick + 1) + thick, limit});
      else if (!beyond.has(limit.name) || beyond.get(limit.name) > limit.value) beyond.set(limit.name, limit.value);
    }
  // Of each name only the first mark is written.
  const named = new Map(marks.slice().reverse().map(mark => [mark.limit.name, mark]));
  const top = 4 + 11 * named.size;
  const frame = picture(node, width, y + top + 24, {left, right: 74, top, bottom: 24},
    `${measure.title}${panel.title ? ' of ' + panel.title : ''}: ${bars.length} bars with intervals`);
  const x = d3.scaleLinear().domain([0, Math.max(highest, ...marks.map(mark => mark.limit.value)) * 1.02]).range([0, frame.width]);
  axis(frame, 'bottom', x, linearTicks(x, 72), measure.text);
  frame.inner.append('line').attr('class', 'zero').attr('y1', 0).attr('y2', frame.height);
  frame.inner.selectAll('text.label').data(places).enter().append('text').attr('class', 'label')
    .attr('x', -8).attr('y', place => (place.top + place.bottom) / 2).attr('dy', '0.35em').attr('text-anchor', 'end')
    .text(place => fitted(place.group.label, left - 10)).append('title').text(place => place.group.label);
  const shapes = frame.inner.selectAll('rect.bar').data(bars).enter().append('rect').attr('class', 'bar')
    .attr('y', bar => bar.y).attr('height', thick).attr('width', bar => Math.max(0.5, x(bar.median || 0)))
    .style('fill', bar => bar.result.subject.color).style('fill-opacity', 0.88);
  tipOn(shapes, bar => barText(bar, panel.measure));
  frame.inner.selectAll('path.whisker').data(bars.filter(bar => bar.known)).enter().append('path').attr('class', 'whisker')
    .attr('pointer-events', 'none')
    .attr('d', bar => {
      const middle = bar.y + thick / 2;
      return `M${x(bar.low)},${middle}H${x(bar.high)}M${x(bar.low)},${middle - 3}v6M${x(bar.high)},${middle - 3}v6`;
    });
  // One dot a repeat, in three rows so that equal ones are told apart.
  frame.inner.selectAll('circle.repeat').data(bars.flatMap(bar => repeats(bar).map((value, i) => ({bar, value, i})))).enter().append('circle').attr('class', 'repeat')
    .attr('pointer-events', 'none').attr('r', 1.5)
    .attr('cx', dot => x(dot.value)).attr('cy', dot => dot.bar.y + thick / 2 + (dot.i % 3 - 1) * (thick / 4));
  const lines = frame.inner.selectAll('g.limits').data(marks).enter().append('g').attr('class', 'limits');
  lines.append('line').attr('class', 'limit').attr('x1', mark => x(mark.limit.value)).attr('x2', mark => x(mark.limit.value))
    .attr('y1', mark => mark.top - 3).attr('y2', mark => mark.bottom + 3);
  tipOn(lines, mark => limitText(mark.limit));
  const texts = frame.inner.selectAll('text.value').data(bars).enter().append('text').attr('class', 'value halo')
    .attr('x', bar => x(furthest(bar)) + 6).attr('y', bar => bar.y + thick / 2).attr('dy', '0.35em')
    .text(bar => didNothing(bar.result) ? 'nothing was done' : measure.text(bar.median));
  texts.filter(bar => flagged(bar.result)).append('tspan').attr('class', 'flag').text(' !');
  const names = [...named.values()].map(mark => ({text: mark.limit.name, x: x(mark.limit.value), y: -5, width: 5.4 * mark.limit.name.length}));
  for (const name of spread(names, 11, true))
    frame.inner.append('text').attr('class', 'limit-name').attr('x', name.x).attr('y', name.y).attr('text-anchor', 'middle').text(name.text);
  const notes = [...beyond].map(([name, value]) => `${name} from ${measure.text(value)}`);
  if (notes.length > 0) node.append(element('p', {class: 'aside'}, `Beyond the scale: ${listing(notes)}.`));
  if (panel.left > 0) node.append(element('p', {class: 'aside'}, `${panel.left} more values of ${panel.title} are in the table.`));
}

function flagged(result) {
  return (result.warnings && result.warnings.length > 0) || result.errors > 0 || didNothing(result);
}

/* It failed from the first operation on: who leaves it out shows only what went well. */
function didNothing(result) {
  return !(result.operations > 0 || result.ops_per_s > 0 || result.bytes_per_s > 0) && !Object.keys(measures).some(key => measures[key].own && known(result[key]));
}

function limitText(limit) {
  const text = limit.unit === 'ns' ? format.time : limit.unit === 'B/s' ? format.bandwidth : format.ops;
  const size = limit.size ? ` at ${format.size(limit.size)}` : '';
  const more = [limit.depth && `depth ${limit.depth}`, limit.transport, limit.processes && `${limit.processes} processes`, limit.footprint && `over ${format.size(limit.footprint)}`];
  return `limit ${limit.name}${size}${more.filter(Boolean).map(word => ', ' + word).join('')}: ${text(limit.value)}`;
}

function barText(bar, measure) {
  const {result} = bar;
  const text = measures[measure].text;
  const lines = [result.subject.label, `${result.phase} ${settingText(result, Object.keys(result.parameters))}`, didNothing(result) ? 'nothing was done' : text(bar.median)];
  if (!didNothing(result)) lines[2] += bar.known ? ` (${text(bar.low)} to ${text(bar.high)}, ${result.repeats} repeats)` : ` (${result.repeats === 1 ? 'one repeat' : 'no interval'})`;
  if (known(result.p50_ns)) lines.push(`p50 ${format.time(result.p50_ns)}, p99 ${format.time(result.p99_ns)}, max ${format.time(result.max_ns)}`);
  for (const limit of applicableLimits(result, measure)) lines.push(`${format.share(bar.median / limit.value)} of ${limit.name} (${text(limit.value)})`);
  if (result.errors > 0) lines.push(`${format.count(result.errors)} operations failed`);
  for (const warning of result.warnings || []) lines.push('! ' + warning);
  return lines.join('\n');
}

function ratesFigure(parent, benchmark) {
  return addFigure(parent, {
    file: `${fileName(benchmark.name)}-rates`,
    title: () => {
      const list = barPanels(benchmark);
      const kinds = [...new Set(list.map(panel => measures[panel.measure].name))];
      const by = list.some(panel => panel.title !== '') ? ` by ${benchmark.axis}` : '';
      return (kinds.length > 0 ? listing(kinds).replace(/^./, letter => letter.toUpperCase()) : 'Rates') + by;
    },
    note: () => {
      const repeats = [...new Set(benchmark.results.map(result => result.repeats))].filter(count => count > 0).sort((a, b) => a - b);
      const of = repeats.length === 0 ? '' : repeats.length === 1 ? (repeats[0] === 1 ? 'one repeat, so without interval' : `median of ${repeats[0]} repeats, whiskers: 95 % interval, dots: the repeats`)
        : `medians of ${repeats[0]} to ${repeats[repeats.length - 1]} repeats, whiskers: 95 % interval, dots: the repeats`;
      const point = benchmark.pointText([benchmark.axis]);
      const flags = benchmark.results.some(flagged) ? ' “!” marks results with warnings.' : '';
      const limits = data.limits.length > 0 ? ' Violet lines: what the calibration measured as limits.' : '';
      return `${point ? 'At ' + point + '; ' : ''}${of}.${intervalWords(repeats)}${limits}${flags}`.replace(/^./, letter => letter.toUpperCase());
    },
    subjects: () => benchmark.visibleSubjects(),
    draw: (body, width) => {
      const list = barPanels(benchmark);
      if (list.length === 0) return nothingHere(benchmark);
      panels(body, width, list, 330, panel => panel.title, drawBars);
    },
    table: () => {
      const rows = [];
      for (const panel of barPanels(benchmark))
        for (const group of panel.groups) for (const result of group.results) rows.push({result});
      return {
        columns: identityColumns(benchmark).concat(rateColumns('ops_per_s'), rateColumns('bytes_per_s'), latencyColumns(), ownMeasureColumns(benchmark), [
          {name: 'repeats', value: row => row.result.repeats},
          {name: 'operations', value: row => row.result.operations, text: format.count},
          {name: 'errors', value: row => row.result.errors},
          {name: 'warnings', value: row => (row.result.warnings || []).join('; ')},
        ]),
        rows,
      };
    },
  });
}

/* Between the least and the greatest of n repeats the median lies with a probability of 1 - 2^(1-n): no interval of less than
   five of them is one of 95 %. */
function intervalWords(repeats) {
  const least = repeats.find(count => count > 1);
  if (least === undefined || least > 4) return '';
  return ` The interval of ${least} repeats is their range at most, which holds the median with a probability of ${(100 * (1 - 2 ** (1 - least))).toFixed(0)} % only.`;
}

/* What a benchmark measures beside rates, such as balance or hit rates: one panel a measure and phase. */
function measuresFigure(parent, benchmark) {
  const keys = benchmark.ownMeasures().filter(key => benchmark.results.some(result => known(result[key]) && result[key] !== 0));
  if (keys.length === 0) return undefined;
  const has = (phase, key) => benchmark.results.some(result => result.phase === phase && known(result[key]));
  const list = () => barPanels(benchmark, keys, has)
    .map(panel => ({...panel, heading: [measures[panel.measure].name, panel.title].filter(Boolean).join(', ')}));
  return addFigure(parent, {
    file: `${fileName(benchmark.name)}-measures`,
    title: () => 'What else was measured' + (list().some(panel => panel.title !== '') ? ` by ${benchmark.axis}` : ''),
    note: () => {
      const point = benchmark.pointText([benchmark.axis]);
      return point ? `At ${point}.` : '';
    },
    subjects: () => benchmark.visibleSubjects(),
    draw: (body, width) => {
      const shown = list();
      if (shown.length === 0) return nothingHere(benchmark, result => keys.some(key => known(result[key])));
      panels(body, width, shown, 330, panel => panel.heading, drawBars);
    },
    table: () => ({
      columns: identityColumns(benchmark).concat(ownMeasureColumns(benchmark)),
      rows: [...new Set(list().flatMap(panel => panel.groups).flatMap(group => group.results))].map(result => ({result})),
    }),
  });
}

/* Why a figure is empty. needed(result): whether it could be shown in it. */
function nothingHere(benchmark, needed = () => true) {
  if (benchmark.visibleSubjects().length === 0) return 'All targets are switched off in the legend.';
  const elsewhere = benchmark.results.filter(result => !result.subject.hidden && needed(result)).length;
  return `There is nothing to show at ${benchmark.pointText() || 'this point'}; ${elsewhere} results of other settings or phases have it.`;
}

function fileName(text) {
  return text.replace(/[^A-Za-z0-9]+/g, '-').replace(/^-|-$/g, '').slice(0, 40) || 'benchmark';
}

/* ---- ratios ---- */

/* Subjects that were measured in a setting in which another was, too. */
function comparableSubjects(benchmark) {
  const found = new Set();
  for (const phase of benchmark.phases)
    for (const own of bySetting(benchmark, phase).values()) if (own.size > 1) for (const subject of own.keys()) found.add(subject);
  return benchmark.subjects.filter(subject => found.has(subject));
}

function ratioFigure(parent, benchmark) {
  const comparable = comparableSubjects(benchmark);
  if (comparable.length < 2) return undefined;
  // What BenchFS is held against; or the first run.
  let baseline = comparable.find(subject => !/^benchfs\b/.test(subject.target)) || comparable[0];
  const rowsOf = () => {
    const rows = [];
    for (const phase of benchmark.visiblePhases()) {
      const measure = benchmark.rateOf(phase);
      const found = benchmark.results.filter(result => result.phase === phase && benchmark.matches(result, benchmark.axis ? [benchmark.axis] : []));
      const groups = new Map();
      for (const result of found) {
        const value = benchmark.axis && benchmark.valuesOfPhase.get(phase).get(benchmark.axis).size > 1 ? parameterValue(result, benchmark.axis) : undefined;
        if (!groups.has(value)) groups.set(value, []);
        groups.get(value).push(result);
      }
      for (const [value, group] of [...groups].sort((a, b) => compareValues(a[0], b[0]))) {
        const against = group.find(result => result.subject === baseline);
        if (!against) continue;
        for (const result of group) {
          if (result.subject === baseline || result.subject.hidden) continue;
          const compared = compare(result, against, measure);
          if (compared) rows.push({phase, value, result, against, ...compared});
        }
      }
    }
    return rows;
  };
  const figure = addFigure(parent, {
    file: `${fileName(benchmark.name)}-ratios`,
    title: () => `Ratio to ${shorten(baseline.label, 60)}`,
    note: () => 'Right of the line is faster. Full marks: outside the noise; hollow: within it, or too few repeats to tell.',
    controls: [select('baseline', comparable, baseline, comparable.map(subject => subject.label), value => {
      baseline = value;
      figure.update();
    })],
    subjects: () => benchmark.visibleSubjects().filter(subject => subject !== baseline),
    draw: (body, width) => {
      const rows = rowsOf();
      if (rows.length === 0) return 'No setting was measured on the baseline and on another visible target.';
      const groups = [];
      for (const phase of new Set(rows.map(row => row.phase))) groups.push({phase, rows: rows.filter(row => row.phase === phase).slice(0, 60)});
      const domain = logDomain(rows.flatMap(row => [row.ratio, row.low, row.high, 1]));
      panels(body, width, groups, 340, group => group.phase, (node, own, group) => drawRatios(node, own, group, domain, benchmark));
    },
    table: () => ({
      columns: identityColumns(benchmark).concat([
        {name: 'baseline', value: () => baseline.label},
        {name: 'ratio', value: row => row.ratio, text: format.ratio},
        {name: 'ratio low', value: row => row.low, text: format.ratio},
        {name: 'ratio high', value: row => row.high, text: format.ratio},
        {name: 'verdict', value: row => ({faster: 'faster', slower: 'slower', noise: 'within the noise', unknown: 'too few repeats'})[row.verdict]},
      ]),
      rows: rowsOf(),
    }),
  });
  return figure;
}

function ratioText(value) {
  return `${Number(value.toPrecision(3))}×`;
}

function drawRatios(node, width, group, domain, benchmark) {
  const step = 14;
  const labelled = group.rows.map((row, i) => i === 0 || row.value !== group.rows[i - 1].value ? parameterText(benchmark.axis || '', row.value) : '');
  const left = group.rows.every(row => row.value === undefined) ? 12 : 72;
  const frame = picture(node, width, group.rows.length * step + 30, {left, right: 60, top: 2, bottom: 28}, `Ratios of ${group.phase} to the baseline`);
  const x = d3.scaleLog().domain(domain).range([0, frame.width]);
  let ticks = logTicks(domain, frame.width / 60);
  if (!ticks.includes(1)) ticks = ticks.concat(1);
  axis(frame, 'bottom', x, ticks, ratioText);
  frame.inner.append('line').attr('class', 'zero').attr('x1', x(1)).attr('x2', x(1)).attr('y2', frame.height).style('stroke', 'var(--ink)');
  const y = (row, i) => i * step + step / 2;
  frame.inner.selectAll('text.label').data(labelled).enter().append('text').attr('class', 'label').attr('x', -8).attr('y', y).attr('dy', '0.35em')
    .attr('text-anchor', 'end').text(text => text === missing ? '' : text);
  const marks = frame.inner.selectAll('g.ratio').data(group.rows).enter().append('g').attr('class', 'ratio')
    .attr('transform', (row, i) => `translate(0,${y(row, i)})`);
  marks.filter(row => known(row.low) && row.low > 0 && known(row.high)).append('line').attr('x1', row => x(row.low)).attr('x2', row => x(row.high))
    .style('stroke', row => row.result.subject.color).attr('stroke-width', 1.6);
  marks.append('path').attr('d', row => symbolPath(row.result.subject, 48)).attr('transform', row => `translate(${x(row.ratio)},0)`)
    .style('stroke', row => row.result.subject.color).attr('stroke-width', 1.5)
    .style('fill', row => row.verdict === 'faster' || row.verdict === 'slower' ? row.result.subject.color : 'var(--ground)');
  marks.append('text').attr('class', 'value').attr('x', frame.width + 6).attr('dy', '0.35em').text(row => format.ratio(row.ratio));
  tipOn(marks, row => `${row.result.subject.label}\n${row.phase} ${settingText(row.result, benchmark.varying)}\n`
    + `${format.ratio(row.ratio)}${known(row.low) ? ` (${format.ratio(row.low)} to ${format.ratio(row.high)})` : ''} of ${row.against.subject.label}\n`
    + ({faster: 'faster, outside the noise', slower: 'slower, outside the noise', noise: 'within the noise', unknown: 'too few repeats to tell'})[row.verdict]);
}
