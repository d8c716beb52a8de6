/* Latency of single operations, by percentile on an axis that gives each further nine the same room (as the
   plots of HDR histograms do), and as a cumulative distribution. A curve is [[ns, operations up to ns], ...]. */

const panelsMax = 12;

function percentilePlace(share) {
  return -Math.log10(1 - share);
}

function percentileOf(place) {
  return 1 - 10 ** -place;
}

function percentileText(share) {
  return (100 * share).toFixed(Math.max(0, Math.ceil(percentilePlace(share) - 2 - 1e-9))) + ' %';
}

/* Points {place, ns}, ascending in both. The last operation stands at its own rank. */
function percentilePoints(result) {
  const {latency} = result;
  if (latency && latency.count > 0) {
    const end = Math.log10(Math.max(2, latency.count));
    const points = latency.points.map(([ns, sum]) => ({place: sum >= latency.count ? end : Math.min(end, percentilePlace(sum / latency.count)), ns}));
    return [{place: 0, ns: latency.min}].concat(points);
  }
  return [[0.5, 'p50_ns'], [0.99, 'p99_ns'], [0.999, 'p999_ns']]
    .filter(([, key]) => known(result[key]) && result[key] > 0).map(([share, key]) => ({place: percentilePlace(share), ns: result[key]}));
}

function latencyAt(result, place) {
  for (const point of percentilePoints(result)) if (point.place >= place - 1e-9) return point.ns;
  return undefined;
}

function latencyPanels(benchmark, needed) {
  return benchmark.visiblePhases()
    .map(phase => ({phase, results: benchmark.at(phase).filter(needed)}))
    .filter(panel => panel.results.length > 0).slice(0, panelsMax);
}

const hasPercentiles = result => percentilePoints(result).length > 1;
const hasCurve = result => result.latency && result.latency.count > 0;

function networkLatency(list) {
  for (const result of list.filter(usesNetwork)) {
    const limit = limitNamed(result, 'network-latency');
    // From far below it would only press the curves together.
    if (limit && limit.value > 0 && limit.value * 100 > result.p50_ns) return limit;
  }
  return undefined;
}

function drawPercentiles(node, width, panel) {
  const frame = picture(node, width, 220, {left: 52, right: 12, top: 8, bottom: 34}, `Latency of ${panel.phase} by percentile`);
  const curves = panel.results.map(result => ({result, label: result.subject.label, points: percentilePoints(result)}));
  const end = Math.max(2, ...curves.map(curve => curve.points[curve.points.length - 1].place));
  const limit = networkLatency(panel.results);
  const x = d3.scaleLinear().domain([0, end]).range([0, frame.width]);
  const domain = logDomain(curves.flatMap(curve => curve.points.map(point => point.ns)).concat(limit ? [limit.value] : []));
  const y = d3.scaleLog().domain(domain).range([frame.height, 0]);
  const shares = [0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999, 0.9999999].filter(share => percentilePlace(share) <= end + 1e-9)
    .filter(share => share !== 0.5 || x(percentilePlace(0.5)) > 26);
  axis(frame, 'bottom', x, shares.map(percentilePlace), place => percentileText(percentileOf(place)).replace(' %', ''), 'percentile');
  axis(frame, 'left', y, logTicks(domain, 6), format.time);
  if (limit) drawLimitLine(frame, limit, y(limit.value));
  for (const curve of curves)
    drawLine(frame, curve.result.subject, curve.points, point => x(point.place), point => y(Math.max(domain[0], point.ns)), hasCurve(curve.result) ? d3.curveStepBefore : d3.curveLinear);
  if (curves.some(curve => !hasCurve(curve.result)))
    for (const curve of curves.filter(each => !hasCurve(each.result)))
      frame.inner.append('g').selectAll('circle').data(curve.points).enter().append('circle').attr('r', 3)
        .attr('cx', point => x(point.place)).attr('cy', point => y(point.ns)).style('fill', curve.result.subject.color);
  hoverLines(frame, x, place => percentileText(Math.max(0, percentileOf(place))), curves.map(curve => ({
    label: curve.label,
    at: place => {
      const ns = latencyAt(curve.result, place);
      return ns === undefined ? undefined : format.time(ns);
    },
  })));
}

function drawLimitLine(frame, limit, y) {
  frame.inner.append('line').attr('class', 'limit').attr('x2', frame.width).attr('y1', y).attr('y2', y).attr('stroke-dasharray', '5 3');
  frame.inner.append('text').attr('class', 'limit-name').attr('x', frame.width).attr('y', y - 4).attr('text-anchor', 'end').text(limit.name);
}

function shareUpTo(result, ns) {
  let before = [result.latency.min, 0];
  for (const point of result.latency.points) {
    if (point[0] >= ns) {
      const width = point[0] - before[0];
      const part = width > 0 ? Math.max(0, Math.min(1, (ns - before[0]) / width)) : 1;
      return (before[1] + part * (point[1] - before[1])) / result.latency.count;
    }
    before = point;
  }
  return 1;
}

function drawDistribution(node, width, panel) {
  const frame = picture(node, width, 190, {left: 52, right: 12, top: 8, bottom: 34}, `Cumulative distribution of the latency of ${panel.phase}`);
  const curves = panel.results.map(result => ({result, points: [[result.latency.min, 0]].concat(result.latency.points)}));
  const limit = networkLatency(panel.results);
  const domain = logDomain(curves.flatMap(curve => curve.points.map(point => point[0])).concat(limit ? [limit.value] : []));
  const x = d3.scaleLog().domain(domain).range([0, frame.width]);
  const y = d3.scaleLinear().domain([0, 1]).range([frame.height, 0]);
  axis(frame, 'bottom', x, logTicks(domain, frame.width / 55), format.time, 'latency');
  axis(frame, 'left', y, [0, 0.25, 0.5, 0.75, 1], format.share);
  if (limit) {
    frame.inner.append('line').attr('class', 'limit').attr('x1', x(limit.value)).attr('x2', x(limit.value)).attr('y2', frame.height).attr('stroke-dasharray', '5 3');
    frame.inner.append('text').attr('class', 'limit-name').attr('x', x(limit.value) + 4).attr('y', 8).text(limit.name);
  }
  for (const curve of curves)
    drawLine(frame, curve.result.subject, curve.points, point => x(Math.max(domain[0], point[0])), point => y(point[1] / curve.result.latency.count));
  hoverLines(frame, x, ns => `up to ${format.time(ns)}`, curves.map(curve => ({
    label: curve.result.subject.label, at: ns => (100 * shareUpTo(curve.result, ns)).toFixed(2) + ' %',
  })));
}

function latencyFigure(parent, benchmark, kind) {
  const percentiles = kind === 'percentiles';
  const needed = percentiles ? hasPercentiles : hasCurve;
  if (!benchmark.results.some(needed)) return undefined;
  return addFigure(parent, {
    file: `${fileName(benchmark.name)}-latency-${kind}`,
    title: () => percentiles ? 'Latency by percentile' : 'Distribution of latency',
    note: () => {
      const point = benchmark.pointText();
      return (point ? `At ${point}. ` : '') + (percentiles
        ? 'Both axes are logarithmic: each further nine has the same room. Curves are true to within ' + format.share(data.curve_step) + ' of a latency.'
        : 'Share of operations that took at most so long.');
    },
    subjects: () => benchmark.visibleSubjects(),
    draw: (body, width) => {
      const list = latencyPanels(benchmark, needed);
      if (list.length === 0) return nothingHere(benchmark, needed);
      panels(body, width, list, 300, panel => panel.phase, percentiles ? drawPercentiles : drawDistribution);
    },
    table: () => {
      const rows = [];
      for (const panel of latencyPanels(benchmark, needed))
        for (const result of panel.results) {
          if (percentiles)
            for (const point of percentilePoints(result)) rows.push({result, share: percentileOf(point.place), ns: point.ns});
          else
            for (const [ns, sum] of result.latency.points) rows.push({result, ns, share: sum / result.latency.count});
        }
      return {
        columns: identityColumns(benchmark).concat([
          {name: 'share', value: row => row.share, text: share => (100 * share).toFixed(5) + ' %'},
          {name: 'latency ns', value: row => row.ns, text: format.time},
        ]),
        rows,
      };
    },
  });
}
