/* The rate over the time of the last repeat. A phase that was too short at the point to be sampled is shown at the
   setting where most was. */

const hasSeries = result => (result.series || []).length > 1;

function seriesOf(benchmark, phase) {
  const there = benchmark.at(phase).filter(hasSeries);
  if (there.length > 0) return {results: there, elsewhere: ''};
  const groups = new Map();
  for (const result of benchmark.results)
    if (result.phase === phase && !result.subject.hidden && hasSeries(result)) {
      const key = benchmark.settingKey(result);
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(result);
    }
  const moments = list => d3.sum(list, result => result.series.length);
  const best = [...groups.values()].sort((a, b) => b.length - a.length || moments(b) - moments(a))[0] || [];
  return {results: best, elsewhere: best.length > 0 ? settingText(best[0], benchmark.varying) : ''};
}

function seriesPanels(benchmark) {
  return benchmark.visiblePhases().map(phase => ({
    phase, measure: benchmark.rateOf(phase), ...seriesOf(benchmark, phase),
  })).filter(panel => panel.results.length > 0).slice(0, panelsMax);
}

function seriesFigure(parent, benchmark) {
  if (!benchmark.results.some(hasSeries)) return undefined;
  return addFigure(parent, {
    file: `${fileName(benchmark.name)}-series`,
    title: () => 'Rate over time',
    note: () => {
      const point = benchmark.pointText();
      return (point ? `At ${point}. ` : '') + 'The last repeat of each phase'
        + (seriesPanels(benchmark).some(panel => panel.elsewhere) ? '; what was over too soon there is shown at the setting that is named.' : '.');
    },
    subjects: () => benchmark.visibleSubjects(),
    draw: (body, width) => {
      const list = seriesPanels(benchmark);
      if (list.length === 0) return nothingHere(benchmark, hasSeries);
      panels(body, width, list, 300, panel => panel.elsewhere ? `${panel.phase} (at ${panel.elsewhere})` : panel.phase, drawSeries);
    },
    table: () => ({
      columns: identityColumns(benchmark).concat([
        {name: 't s', value: row => row.moment.t, text: format.plain},
        {name: 'op/s', value: row => row.moment.ops_per_s, text: format.ops},
        {name: 'B/s', value: row => row.moment.bytes_per_s, text: format.bandwidth},
      ]),
      rows: seriesPanels(benchmark).flatMap(panel => panel.results.flatMap(result => result.series.map(moment => ({result, moment})))),
    }),
  });
}

function drawSeries(node, width, panel) {
  const measure = measures[panel.measure];
  const frame = picture(node, width, 170, {left: 60, right: 12, top: 8, bottom: 34}, `${measure.title} of ${panel.phase} over time`);
  const value = moment => moment[panel.measure] || 0;
  const x = d3.scaleLinear().domain([0, d3.max(panel.results, result => d3.max(result.series, moment => moment.t)) || 1]).range([0, frame.width]);
  const y = d3.scaleLinear().domain([0, 1.05 * d3.max(panel.results, result => d3.max(result.series, value)) || 1]).range([frame.height, 0]);
  axis(frame, 'bottom', x, linearTicks(x, 60), format.seconds, 'time in the phase');
  axis(frame, 'left', y, y.ticks(4), measure.text);
  for (const result of panel.results) drawLine(frame, result.subject, result.series, moment => x(moment.t), moment => y(value(moment)));
  hoverLines(frame, x, t => format.seconds(t), panel.results.map(result => ({
    label: result.subject.label,
    at: t => {
      const nearest = result.series.reduce((best, moment) => Math.abs(moment.t - t) < Math.abs(best.t - t) ? moment : best);
      return measure.text(value(nearest));
    },
  })));
}
