/* How rates grow with servers, clients or operations under way: both axes logarithmic, so that ideal growth is
   a straight line at 45 degrees and every curve can be held against it. */

function scalingParametersOf(benchmark) {
  if (['ring', 'hash', 'meta', 'cache'].includes(benchmark.name)) return []; // here more servers are more work
  return scalingParameters.filter(name => {
    if (name === 'clients' && benchmark.results.some(result => result.clients !== undefined)) return true;
    return (benchmark.varying.includes(name) || benchmark.bySubject.includes(name)) && benchmark.values.get(name).filter(value => typeof value === 'number' && value > 0).length > 1;
  });
}

/* Targets that differ in their number of servers only are points of one curve. */
function familyOf(subject, parameter) {
  return parameter === 'servers' ? subject.label.replace(/\b(?:servers|(?:cluster\.)?server_count)=\d+,?/, '').replace(/[,:]+$/, '') : subject.label;
}

/* Curves of one phase: {subject, label, points: [{x, result}]} with two points or more; subject is the first of
   those that the points are of. */
function scalingCurves(benchmark, phase, parameter) {
  const free = parameter === 'clients' && !benchmark.varying.includes('clients') ? ['processes', 'threads'] : [parameter];
  const curves = [];
  const families = new Map();
  for (const subject of benchmark.visibleSubjects())
    if (!families.has(familyOf(subject, parameter))) families.set(familyOf(subject, parameter), subject);
  for (const [label, subject] of families) {
    const best = new Map(); // of the ways to have so many clients, the fastest
    const measure = benchmark.rateOf(phase);
    for (const result of benchmark.at(phase, free)) {
      const x = parameterOrClients(result, parameter);
      if (familyOf(result.subject, parameter) !== label || typeof x !== 'number' || x <= 0 || !(result[measure] > 0)) continue;
      if (!best.has(x) || best.get(x)[measure] < result[measure]) best.set(x, result);
    }
    const points = [...best].sort((a, b) => a[0] - b[0]).map(([x, result]) => ({x, result, ...interval(result, measure)}));
    if (points.length > 1) curves.push({subject, label, points});
  }
  return curves;
}

function scalingFigure(parent, benchmark) {
  const parameters = scalingParametersOf(benchmark);
  if (parameters.length === 0) return undefined;
  let parameter = parameters[0];
  const list = () => benchmark.visiblePhases().map(phase => ({phase, curves: scalingCurves(benchmark, phase, parameter)}))
    .filter(panel => panel.curves.length > 0).slice(0, panelsMax);
  const figure = addFigure(parent, {
    file: `${fileName(benchmark.name)}-scaling`,
    title: () => `Scaling over ${parameter}`,
    note: () => {
      const point = benchmark.pointText(parameter === 'clients' ? ['processes', 'threads'] : [parameter]);
      return (point ? `At ${point}. ` : '') + `Dotted: ideal growth from the first point; the percentage is the efficiency at the last one.`;
    },
    controls: parameters.length > 1 ? [select('over', parameters, parameter, parameters, value => {
      parameter = value;
      figure.update();
    })] : [],
    subjects: () => benchmark.visibleSubjects(),
    draw: (body, width) => {
      const shown = list();
      if (shown.length === 0) return nothingHere(benchmark);
      panels(body, width, shown, 300, panel => panel.phase, (node, own, panel) => drawScaling(node, own, panel, parameter, benchmark));
    },
    table: () => {
      const rows = [];
      for (const panel of list())
        for (const curve of panel.curves)
          for (const point of curve.points) rows.push({...point, measure: benchmark.rateOf(panel.phase), first: curve.points[0]});
      return {
        columns: identityColumns(benchmark, parameter === 'clients' && !benchmark.varying.includes('clients') ? ['clients'] : []).concat([
          {name: 'measure', value: row => measures[row.measure].unit},
          {name: 'rate', value: row => row.median, text: format.plain},
          {name: 'rate low', value: row => row.low, text: format.plain},
          {name: 'rate high', value: row => row.high, text: format.plain},
          {name: 'speedup', value: row => row.median / row.first.median, text: format.ratio},
          {name: 'efficiency', value: row => efficiency(row.first, row), text: format.share},
        ]),
        rows,
      };
    },
  });
  return figure;
}

function efficiency(first, point) {
  return point.median / first.median / (point.x / first.x);
}

function drawScaling(node, width, panel, parameter, benchmark) {
  const measure = measures[benchmark.rateOf(panel.phase)];
  const frame = picture(node, width, 230, {left: 64, right: 46, top: 10, bottom: 34}, `${measure.title} of ${panel.phase} over ${parameter}`);
  const xs = [...new Set(panel.curves.flatMap(curve => curve.points.map(point => point.x)))].sort((a, b) => a - b);
  const x = d3.scaleLog().domain([xs[0], xs[xs.length - 1]]).range([0, frame.width]);
  const ideal = curve => {
    const [first] = curve.points;
    const last = curve.points[curve.points.length - 1];
    return [{x: first.x, y: first.median}, {x: last.x, y: first.median * last.x / first.x}];
  };
  const domain = logDomain(panel.curves.flatMap(curve => curve.points.flatMap(point => [point.median, point.low, point.high]).concat(ideal(curve).map(end => end.y))));
  const y = d3.scaleLog().domain(domain).range([frame.height, 0]);
  const ticks = xs.filter((value, i) => i === 0 || i === xs.length - 1 || xs.length <= 10 || i % Math.ceil(xs.length / 8) === 0);
  axis(frame, 'bottom', x, ticks, value => parameterText(parameter, value), parameter);
  axis(frame, 'left', y, logTicks(domain, 5), measure.text);
  for (const curve of panel.curves) {
    const color = curve.subject.color;
    frame.inner.append('path').attr('class', 'ideal').style('stroke', color).attr('d', d3.line().x(end => x(end.x)).y(end => y(end.y))(ideal(curve)));
    drawLine(frame, curve.subject, curve.points, point => x(point.x), point => y(point.median));
    frame.inner.append('path').style('stroke', color).attr('stroke-width', 1.2).attr('fill', 'none')
      .attr('d', curve.points.filter(point => point.known && point.low > 0).map(point => `M${x(point.x)},${y(point.low)}V${y(point.high)}`).join(''));
    const marks = frame.inner.append('g').selectAll('path').data(curve.points).enter().append('path').attr('d', symbolPath(curve.subject, 36))
      .attr('transform', point => `translate(${x(point.x)},${y(point.median)})`).style('fill', color);
    tipOn(marks, point => `${curve.label}\n${parameter} ${point.x}: ${measure.text(point.median)}\n`
      + `${format.ratio(point.median / curve.points[0].median)} of ${parameter} ${curve.points[0].x}: ${format.share(efficiency(curve.points[0], point))} of ideal`);
  }
  // Labels at the right end, moved apart when they would overlap.
  const ends = panel.curves.slice(0, 8).map(curve => {
    const last = curve.points[curve.points.length - 1];
    return {curve, last, y: y(last.median)};
  }).sort((a, b) => a.y - b.y);
  for (let i = 1; i < ends.length; i++) ends[i].y = Math.max(ends[i].y, ends[i - 1].y + 11);
  for (const end of ends)
    frame.inner.append('text').attr('class', 'value').attr('x', x(end.last.x) + 8).attr('y', end.y).attr('dy', '0.35em').style('fill', end.curve.subject.color)
      .text(format.share(efficiency(end.curve.points[0], end.last)));
}

/* ---- latency under load ---- */

/* Operations arrive at a rate that is given. */
function isOpenLoop(benchmark) {
  return benchmark.results.every(result => known(result.parameters.rate) && known(result.parameters.time)) && benchmark.results.some(result => result.parameters.arrivals !== undefined);
}

const loadQuantiles = [{key: 'p50_ns', name: 'p50', dash: ''}, {key: 'p99_ns', name: 'p99', dash: '6 3'}];

/* [{subject, quantile, points: [{x, result, ns}]}] */
function loadCurves(benchmark, phase) {
  const curves = [];
  for (const subject of benchmark.visibleSubjects())
    for (const quantile of loadQuantiles) {
      const points = benchmark.at(phase, ['rate']).filter(result => result.subject === subject && result[quantile.key] > 0 && result.parameters.rate > 0)
        .map(result => ({x: result.parameters.rate, result, ns: result[quantile.key]})).sort((a, b) => a.x - b.x);
      if (points.length > 1) curves.push({subject, quantile, points});
    }
  return curves;
}

function loadFigure(parent, benchmark) {
  if (!isOpenLoop(benchmark) || !benchmark.varying.includes('rate')) return undefined;
  const list = () => benchmark.visiblePhases().map(phase => ({phase, curves: loadCurves(benchmark, phase)})).filter(panel => panel.curves.length > 0).slice(0, panelsMax);
  return addFigure(parent, {
    file: `${fileName(benchmark.name)}-load`,
    title: () => 'Latency under load',
    note: () => {
      const point = benchmark.pointText(['rate']);
      return (point ? `At ${point}. ` : '') + 'By the rate at which operations arrive, of all workers together; each counts from the moment it was due. Solid: p50, dashed: p99.';
    },
    subjects: () => benchmark.visibleSubjects(),
    draw: (body, width) => {
      const shown = list();
      if (shown.length === 0) return nothingHere(benchmark);
      panels(body, width, shown, 300, panel => panel.phase, drawLoad);
    },
    table: () => ({
      columns: identityColumns(benchmark).concat([{name: 'operations per second that arrive', value: row => row.x}, {name: 'quantile', value: row => row.quantile.name}, {name: 'latency ns', value: row => row.ns, text: format.time}]),
      rows: list().flatMap(panel => panel.curves.flatMap(curve => curve.points.map(point => ({...point, quantile: curve.quantile})))),
    }),
  });
}

function drawLoad(node, width, panel) {
  const frame = picture(node, width, 220, {left: 64, right: 16, top: 10, bottom: 34}, `Latency of ${panel.phase} under load`);
  const points = panel.curves.flatMap(curve => curve.points);
  const xs = [...new Set(points.map(point => point.x))].sort((a, b) => a - b);
  const x = d3.scaleLog().domain([xs[0], xs[xs.length - 1]]).range([0, frame.width]);
  const domain = logDomain(points.map(point => point.ns));
  const y = d3.scaleLog().domain(domain).range([frame.height, 0]);
  axis(frame, 'bottom', x, xs.length <= 6 ? xs : logTicks(x.domain(), 6), format.plain, 'operations per second that arrive');
  axis(frame, 'left', y, logTicks(domain, 5), format.time);
  for (const {subject, quantile, points: own} of panel.curves) {
    drawLine(frame, subject, own, point => x(point.x), point => y(point.ns)).attr('stroke-dasharray', quantile.dash || null);
    const marks = frame.inner.append('g').selectAll('path').data(own).enter().append('path').attr('d', symbolPath(subject, 36))
      .attr('transform', point => `translate(${x(point.x)},${y(point.ns)})`).style('fill', subject.color);
    tipOn(marks, point => `${subject.label}\n${quantile.name} at ${format.plain(point.x)} a second: ${format.time(point.ns)}`);
  }
}
