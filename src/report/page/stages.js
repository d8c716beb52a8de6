/* Where the time of an operation goes: mean time in each stage, stacked; and how evenly servers are loaded. */

const stageOrder = ['client_queue', 'wire', 'server_queue', 'handler', 'storage', 'reply'];

function stageName(name) {
  return stageOrder.includes(name) ? name.replace('_', ' ') : name;
}

function stageColor(name) {
  const place = stageOrder.indexOf(name);
  return place < 0 ? 'var(--c6)' : `var(--s${place})`;
}

/* Of texts on that colour, in either theme. */
function stageInk(name) {
  const place = stageOrder.indexOf(name);
  return place < 0 ? 'var(--ground)' : `var(--t${place})`;
}

/* Mean time of a request in each stage.

   With "total" (call to result) the stages are its parts, wire being what no other has; the reply's sending is part of
   wire and is measured for some requests only, `reply` says its mean over all. A server may notice its end after the
   caller has it all; then it is all of wire. Without "total" a stage counts for as
   much of the mean request as it took. What parts do not explain is "rest". */
function stageShares(stages, reply) {
  const whole = stages.total;
  const count = whole ? whole.count : Math.max(0, ...Object.values(stages).map(stage => stage.count));
  const parts = [];
  let start = 0;
  const add = (name, mean) => {
    if (!(mean > 0)) return;
    parts.push({name, stage: stages[name], start, mean});
    start += mean;
  };
  if (count === 0) return {parts, total: 0};
  const wire = stages.wire ? stages.wire.mean * stages.wire.count / count : 0;
  const divided = whole ? Math.min(reply, wire) : 0;
  for (const name of stageOrder.filter(each => stages[each]).concat(Object.keys(stages).filter(each => each !== 'total' && !stageOrder.includes(each)))) {
    const mean = stages[name].mean * stages[name].count / count;
    if (!whole) add(name, mean);
    else if (name === 'wire') add(name, wire - divided);
    else if (name === 'reply') add(name, divided);
    else add(name, mean);
  }
  if (whole && whole.mean > 1.01 * start) add('rest', whole.mean - start);
  return {parts, total: start};
}

function replyMean(request) {
  return request.stages && request.stages.reply ? request.stages.reply.mean : 0;
}

/* A result's reply over all its requests: each kind's mean for as many as there were. */
function replyOf(result) {
  const kinds = Object.values(result.operations_by_rpc || {}).filter(kind => kind.stages && kind.stages.total);
  const count = d3.sum(kinds, kind => kind.stages.total.count);
  if (count > 0) return d3.sum(kinds, kind => replyMean(kind) * kind.stages.total.count) / count;
  const {reply, total} = result.stages;
  return reply && total && total.count > 0 ? reply.mean * reply.count / total.count : 0;
}

function hasStages(result) {
  return result.stages && Object.values(result.stages).some(stage => stage.count > 0);
}

function stageRows(benchmark, byRequest) {
  const rows = [];
  for (const phase of benchmark.visiblePhases())
    for (const result of benchmark.at(phase)) {
      if (!byRequest) {
        if (hasStages(result)) rows.push({result, label: phase, ...stageShares(result.stages, replyOf(result))});
        continue;
      }
      for (const [name, kind] of Object.entries(result.operations_by_rpc || {}))
        if (hasStages(kind)) rows.push({result, label: `${phase}: ${name}`, request: name, ...stageShares(kind.stages, replyMean(kind))});
    }
  return rows.filter(row => row.total > 0);
}

function stagesFigure(parent, benchmark) {
  const byResult = benchmark.results.some(hasStages);
  const byRpc = benchmark.results.some(result => Object.values(result.operations_by_rpc || {}).some(hasStages));
  if (!byResult && !byRpc) return undefined;
  const state = {byRequest: !byResult, relative: false};
  const choices = [];
  if (byResult && byRpc) choices.push(select('rows', [false, true], state.byRequest, ['phases', 'requests'], value => {
    state.byRequest = value;
    figure.update();
  }));
  choices.push(select('length', [false, true], state.relative, ['time', 'share'], value => {
    state.relative = value;
    figure.update();
  }));
  const figure = addFigure(parent, {
    file: `${fileName(benchmark.name)}-stages`,
    title: () => state.byRequest ? 'Where the time of each kind of request goes' : 'Where the time of a request goes',
    note: () => {
      const point = benchmark.pointText();
      return (point ? `At ${point}. ` : '') + 'Mean time of a request to a server in each stage; one operation may need several requests, or none.';
    },
    controls: choices,
    draw: (body, width) => {
      const rows = stageRows(benchmark, state.byRequest);
      if (rows.length === 0) return nothingHere(benchmark, result => state.byRequest ? result.operations_by_rpc : result.stages);
      body.append(colorKey([...new Set(rows.flatMap(row => row.parts.map(part => part.name)))].map(name => [stageColor(name), stageName(name)])));
      drawStages(body, width, rows.slice(0, 60), state.relative);
      if (rows.length > 60) body.append(element('p', {class: 'empty'}, `${rows.length - 60} more rows are in the table.`));
    },
    table: () => ({
      columns: identityColumns(benchmark).concat([
        {name: 'request', value: row => row.request},
        {name: 'stage', value: row => row.part.name},
        {name: 'count', value: row => row.part.stage && row.part.stage.count, text: format.count},
        {name: 'mean ns of a request', value: row => row.part.mean, text: format.time},
        {name: 'share', value: row => row.part.mean / row.total, text: format.share},
        {name: 'p50 ns', value: row => row.part.stage && row.part.stage.p50, text: format.time},
        {name: 'p99 ns', value: row => row.part.stage && row.part.stage.p99, text: format.time},
        {name: 'max ns', value: row => row.part.stage && row.part.stage.max, text: format.time},
      ]),
      rows: stageRows(benchmark, state.byRequest).flatMap(row => row.parts.map(part => ({...row, part}))),
    }),
  });
  return figure;
}

function drawStages(node, width, rows, relative) {
  const step = 19;
  const several = new Set(rows.map(row => row.result.subject)).size > 1;
  const label = row => several ? `${shorten(row.label, 30)} · ${shorten(row.result.subject.label, 24)}` : shorten(row.label, 40);
  const left = labelRoom(rows.map(label), width);
  const frame = picture(node, width, rows.length * step + 26, {left, right: 64, top: 2, bottom: 24}, `Mean time in each stage, ${rows.length} bars`);
  const x = d3.scaleLinear().domain([0, relative ? 1 : d3.max(rows, row => row.total)]).range([0, frame.width]);
  axis(frame, 'bottom', x, linearTicks(x, 80), relative ? format.share : format.time);
  const groups = frame.inner.selectAll('g.row').data(rows).enter().append('g').attr('class', 'row').attr('transform', (row, i) => `translate(0,${i * step + 2})`);
  groups.append('text').attr('class', 'label').attr('x', -8).attr('y', 7).attr('dy', '0.35em').attr('text-anchor', 'end').text(row => fitted(label(row), left - 10));
  const scale = row => relative ? 1 / row.total : 1;
  groups.each(function (row) {
    const parts = d3.select(this).selectAll('g.stage').data(row.parts).enter().append('g').attr('class', 'stage');
    parts.append('rect').attr('x', part => x(part.start * scale(row))).attr('width', part => Math.max(0, x(part.mean * scale(row)) - 0.5)).attr('height', 14)
      .style('fill', part => stageColor(part.name));
    parts.filter(part => x(part.mean * scale(row)) > 34).append('text').attr('x', part => x((part.start + part.mean / 2) * scale(row))).attr('y', 7).attr('dy', '0.35em')
      .attr('text-anchor', 'middle').attr('pointer-events', 'none').style('fill', part => stageInk(part.name))
      .text(part => format.share(part.mean / row.total));
    tipOn(parts, part => `${row.result.subject.label}\n${row.label}, ${stageName(part.name)}\nmean ${format.time(part.mean)}: ${format.share(part.mean / row.total)}`
      + (!part.stage ? '' : `\np50 ${format.time(part.stage.p50)}, p99 ${format.time(part.stage.p99)}, max ${format.time(part.stage.max)}`));
  });
  groups.append('text').attr('class', 'value').attr('x', row => x(row.total * scale(row)) + 6).attr('y', 7).attr('dy', '0.35em').text(row => format.time(row.total));
}

/* ---- servers ---- */

/* How unevenly `values` are spread: the greatest and the standard deviation, both against the mean. */
function imbalance(values) {
  const mean = d3.mean(values);
  if (!(mean > 0)) return undefined;
  return {mean, peak: d3.max(values) / mean, variation: Math.sqrt(d3.mean(values, value => (value - mean) ** 2)) / mean};
}

const loads = [
  {name: 'requests', value: server => server.requests, text: format.count},
  {name: 'bytes', value: server => server.bytes, text: format.size},
  {name: 'busy', value: server => server.busy, text: format.share},
];

function serverRows(benchmark, load) {
  const rows = [];
  for (const phase of benchmark.visiblePhases())
    for (const result of benchmark.at(phase)) {
      const servers = (result.servers || []).filter(server => known(load.value(server)));
      const uneven = imbalance(servers.map(load.value));
      if (uneven) rows.push({result, phase, servers, ...uneven});
    }
  return rows;
}

function serversFigure(parent, benchmark) {
  const usable = loads.filter(load => benchmark.results.some(result => (result.servers || []).some(server => load.value(server) > 0)));
  if (usable.length === 0) return undefined;
  let load = usable[0];
  const figure = addFigure(parent, {
    file: `${fileName(benchmark.name)}-servers`,
    title: () => `Load of each server: ${load.name}`,
    note: () => {
      const point = benchmark.pointText();
      return (point ? `At ${point}. ` : '') + 'One dot a server, against the mean of all. max/mean bounds what perfect balance could gain; CV is the standard deviation over the mean.';
    },
    controls: usable.length > 1 ? [select('load', usable, load, usable.map(each => each.name), value => {
      load = value;
      figure.update();
    })] : [],
    draw: (body, width) => {
      const rows = serverRows(benchmark, load);
      if (rows.length === 0) return nothingHere(benchmark, result => result.servers);
      drawServers(body, width, rows.slice(0, 60), load);
    },
    table: () => ({
      columns: identityColumns(benchmark).concat([
        {name: 'server', value: row => row.server.id},
        {name: 'requests', value: row => row.server.requests, text: format.count},
        {name: 'bytes', value: row => row.server.bytes, text: format.count},
        {name: 'busy', value: row => row.server.busy, text: format.share},
        {name: 'max/mean', value: row => row.peak, text: format.plain},
        {name: 'CV', value: row => row.variation, text: format.plain},
      ]),
      rows: serverRows(benchmark, load).flatMap(row => row.servers.map(server => ({...row, server}))),
    }),
  });
  return figure;
}

function drawServers(node, width, rows, load) {
  const step = 20;
  const several = new Set(rows.map(row => row.result.subject)).size > 1;
  const label = row => several ? `${shorten(row.phase, 26)} · ${shorten(row.result.subject.label, 24)}` : shorten(row.phase, 40);
  const left = labelRoom(rows.map(label), width);
  const frame = picture(node, width, rows.length * step + 40, {left, right: 132, top: 16, bottom: 24}, `Load of servers against the mean, ${rows.length} rows`);
  const x = d3.scaleLinear().domain([0, Math.max(1.2, d3.max(rows, row => row.peak))]).range([0, frame.width]);
  axis(frame, 'bottom', x, linearTicks(x, 70), format.ratio);
  frame.inner.append('line').attr('class', 'zero').attr('x1', x(1)).attr('x2', x(1)).attr('y2', frame.height).style('stroke', 'var(--ink)');
  const groups = frame.inner.selectAll('g.row').data(rows).enter().append('g').attr('class', 'row').attr('transform', (row, i) => `translate(0,${i * step + step / 2})`);
  groups.append('text').attr('class', 'label').attr('x', -8).attr('dy', '0.35em').attr('text-anchor', 'end').text(row => fitted(label(row), left - 10));
  groups.append('line').attr('x1', row => x(d3.min(row.servers, load.value) / row.mean)).attr('x2', row => x(row.peak))
    .style('stroke', row => row.result.subject.color).attr('stroke-opacity', 0.4).attr('stroke-width', 3);
  groups.each(function (row) {
    const dots = d3.select(this).selectAll('circle').data(row.servers.slice(0, 512)).enter().append('circle').attr('r', row.servers.length > 64 ? 2.2 : 4)
      .attr('cx', server => x(load.value(server) / row.mean)).style('fill', row.result.subject.color).style('fill-opacity', row.servers.length > 16 ? 0.45 : 0.85);
    tipOn(dots, server => `${row.result.subject.label}, ${row.phase}\nserver ${server.id}: ${load.text(load.value(server))} (${format.ratio(load.value(server) / row.mean)} of the mean)`
      + (known(server.busy) ? `\nbusy ${format.share(server.busy)}` : ''));
  });
  frame.inner.append('text').attr('x', frame.width + 12).attr('y', -5).text('max/mean');
  frame.inner.append('text').attr('x', frame.width + 84).attr('y', -5).text('CV');
  groups.append('text').attr('class', 'value').attr('x', frame.width + 12).attr('dy', '0.35em').text(row => row.peak.toFixed(2));
  groups.append('text').attr('class', 'value').attr('x', frame.width + 84).attr('dy', '0.35em').text(row => row.variation.toFixed(3));
}
