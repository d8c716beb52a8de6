/* The limits of the machine as roofs over what was reached: bandwidth by bytes of a transfer, both axes
   logarithmic. Limits of bandwidth are (nearly) flat; limits of latency and of operations per second rise with
   the size of a transfer. What lies far below all roofs is held back by software or by waiting. */

function limitValueText(limit, value) {
  return limit.unit === 'ns' ? format.time(value) : limit.unit === 'B/s' ? format.bandwidth(value) : format.ops(value);
}

function limitsSection(parent) {
  if (data.limits.length === 0) return;
  parent.append(element('h2', {id: 'limits'}, 'What the machine can do'));
  parent.append(element('p', {class: 'lead'}, 'Limits that the calibration measured, and how near the results come to them.'));
  const place = element('div', {class: 'figures'});
  parent.append(place);
  for (const benchmark of benchmarks) rooflineFigure(place, benchmark);
  addFigure(place, {
    file: 'limits',
    tableShown: true,
    title: () => 'Calibrated limits',
    note: () => 'The best of all repeats, for whatever disturbs makes it slower; low and high are the range of all.',
    draw: body => {
      body.append(element('div', {class: 'scroll'}, tableElement(limitsTable())));
    },
    table: limitsTable,
  });
}

function limitsTable() {
  return {
    columns: [
      {name: 'limit', value: limit => limit.name},
      {name: 'size', value: limit => limit.size || undefined, text: format.size},
      {name: 'depth', value: limit => limit.depth || undefined},
      {name: 'transport', value: limit => limit.transport},
      {name: 'footprint', value: limit => limit.footprint || undefined, text: format.size},
      {name: 'processes', value: limit => limit.processes || undefined},
      {name: 'value', value: limit => limit.value, text: format.plain},
      {name: 'low', value: limit => limit.low, text: format.plain},
      {name: 'high', value: limit => limit.high, text: format.plain},
      {name: 'unit', value: limit => limit.unit},
      {name: 'reads as', value: limit => limitValueText(limit, limit.value)},
      {name: 'run', value: limit => limit.run},
    ],
    rows: data.limits,
  };
}

const roofMax = 3000;

function roofPanels(benchmark) {
  const list = [];
  for (const phase of benchmark.visiblePhases()) {
    const found = benchmark.results.filter(result => result.phase === phase && !result.subject.hidden && result.bytes_per_s > 0 && transferSize(result) > 0).slice(0, roofMax);
    if (found.length > 0) list.push({phase, results: found});
  }
  return list.slice(0, panelsMax);
}

function nearestFootprint(limits, list) {
  const wanted = d3.max(list, footprintOf);
  const known = [...new Set(limits.map(limit => limit.footprint).filter(footprint => footprint > 0))];
  return wanted > 0 ? known.sort((a, b) => Math.abs(Math.log2(a / wanted)) - Math.abs(Math.log2(b / wanted)))[0] : Math.max(...known);
}

/* Roofs for one phase: {name, at(size)}. */
function roofsFor(panel) {
  const roofs = [];
  const limits = limitsFor(panel.results[0]).filter(limit => known(limit.value) && limit.value > 0);
  const flat = new Set(panel.results.flatMap(result => limitNames(result, true)));
  const steep = new Set(panel.results.flatMap(result => limitNames(result, false)));
  for (const name of flat) {
    // Of one size the best depth counts, for a limit is what could be had; and the footprint of the results.
    const bySize = new Map();
    const named = limits.filter(each => each.name === name);
    const footprint = nearestFootprint(named, panel.results);
    for (const limit of named.filter(each => !each.footprint || each.footprint === footprint)) bySize.set(limit.size || 0, Math.max(limit.value, bySize.get(limit.size || 0) || 0));
    const points = [...bySize].sort((a, b) => a[0] - b[0]);
    if (points.length === 0) continue;
    roofs.push({
      name,
      at: size => {
        const next = points.findIndex(point => point[0] >= size);
        if (next <= 0) return points[next < 0 ? points.length - 1 : 0][1];
        const [a, b] = [points[next - 1], points[next]];
        if (!(a[0] > 0)) return b[1];
        const part = Math.log(size / a[0]) / Math.log(b[0] / a[0]);
        return a[1] * (b[1] / a[1]) ** part;
      },
    });
  }
  for (const name of steep) {
    const best = d3.max(limits.filter(limit => limit.name === name), limit => limit.value);
    if (best) roofs.push({name, at: size => size * best});
  }
  const latency = panel.results.some(usesNetwork) && d3.min(limits.filter(limit => limit.name === 'network-latency'), limit => limit.value);
  if (latency) {
    const most = d3.max(panel.results, parallelism);
    roofs.push({name: 'network-latency', at: size => size / latency * 1e9});
    if (most > 1) roofs.push({name: `network-latency, ${most} at a time`, at: size => size / latency * 1e9 * most});
  }
  return roofs;
}

function lowestRoof(panel, result, roofs) {
  const size = transferSize(result);
  const names = limitNames(result, true).concat(limitNames(result, false));
  const own = roofs.filter(roof => names.includes(roof.name) && result.bytes_per_s <= 1.1 * roof.at(size));
  const latency = roofs.find(roof => roof.name === 'network-latency');
  if (latency && usesNetwork(result)) own.push({name: 'network-latency', at: bytes => latency.at(bytes) * parallelism(result)});
  return own.reduce((best, roof) => best === undefined || roof.at(size) < best.value ? {name: roof.name, value: roof.at(size)} : best, undefined);
}

function rooflineFigure(parent, benchmark) {
  if (!benchmark.results.some(result => result.bytes_per_s > 0 && transferSize(result) > 0 && limitsFor(result).length > 0)) return;
  const figure = addFigure(parent, {
    file: `${fileName(benchmark.name)}-roofline`,
    title: () => `${benchmark.name} under the limits`,
    note: () => 'One mark a setting. Lines: the limits as they were calibrated, with one client; several at once may do more than one.',
    draw: (body, width) => {
      const list = roofPanels(benchmark);
      if (list.length === 0) return nothingHere(benchmark);
      // The legend is far away.
      const shown = benchmark.visibleSubjects();
      if (shown.length > 1) body.append(colorKey(shown.map(subject => [subject.color, shorten(subject.label, 70)])));
      panels(body, width, list, 360, panel => panel.phase, drawRoofline);
    },
    table: () => ({
      columns: identityColumns(benchmark).concat([
        {name: 'bytes of a transfer', value: row => transferSize(row.result), text: format.size},
        {name: 'B/s', value: row => row.result.bytes_per_s, text: format.bandwidth},
        {name: 'lowest limit', value: row => row.roof && row.roof.name},
        {name: 'limit B/s', value: row => row.roof && row.roof.value, text: format.bandwidth},
        {name: 'share of limit', value: row => row.roof && row.result.bytes_per_s / row.roof.value, text: format.share},
      ]),
      rows: roofPanels(benchmark).flatMap(panel => {
        const roofs = roofsFor(panel);
        return panel.results.map(result => ({result, roof: lowestRoof(panel, result, roofs)}));
      }),
    }),
  });
  benchmark.figures.push(figure);
}

function drawRoofline(node, width, panel) {
  const roofs = roofsFor(panel);
  const frame = picture(node, width, 260, {left: 64, right: 14, top: 8, bottom: 34}, `Bandwidth of ${panel.phase} under the limits`);
  const sizes = panel.results.map(transferSize);
  const air = d3.min(sizes) === d3.max(sizes) ? 8 : 1.6;
  const x = d3.scaleLog().base(2).domain([d3.min(sizes) / air, d3.max(sizes) * air]).range([0, frame.width]);
  const ends = x.domain();
  const rates = panel.results.map(result => result.bytes_per_s);
  const highest = Math.max(d3.max(rates), ...roofs.map(roof => Math.min(roof.at(ends[1]), 5 * d3.max(rates))));
  const domain = logDomain(rates.concat([highest, d3.min(rates) / 1.5]));
  const y = d3.scaleLog().domain(domain).range([frame.height, 0]).clamp(true);
  let ticks = [...new Set(sizes)].sort((a, b) => a - b);
  const room = Math.floor(frame.width / 56);
  if (ticks.length > room) ticks = ticks.filter((size, i) => i % Math.ceil(ticks.length / room) === 0);
  axis(frame, 'bottom', x, ticks, format.size, 'bytes of a transfer');
  axis(frame, 'left', y, logTicks(domain, 5), format.bandwidth);
  const steps = d3.range(0, 61).map(step => ends[0] * (ends[1] / ends[0]) ** (step / 60));
  const labels = [];
  for (const roof of roofs) {
    const inside = steps.filter(size => roof.at(size) <= domain[1] && roof.at(size) >= domain[0]);
    if (inside.length < 2) continue;
    frame.inner.append('path').attr('class', 'limit').attr('d', d3.line().x(size => x(size)).y(size => y(roof.at(size)))(inside));
    // Along the line, wherever no mark and no other name is in the way.
    const room = 5.3 * roof.name.length;
    const busy = sizes.map((size, i) => ({x: x(size) - 5, y: y(rates[i]), width: 10})).concat(labels);
    const places = inside.map(size => ({name: roof.name, x: x(size) + 4, y: y(roof.at(size)) - 4, width: room}))
      .filter(place => place.x + room < frame.width + 10 && place.y > 2);
    const free = places.find(place => busy.every(other => Math.abs(other.y - place.y) > 11 || other.x > place.x + room || other.x + other.width < place.x));
    if (free) labels.push(free);
  }
  const marks = frame.inner.append('g').selectAll('path').data(panel.results).enter().append('path')
    .attr('d', result => symbolPath(result.subject, panel.results.length > 200 ? 16 : 40)).attr('fill-opacity', panel.results.length > 200 ? 0.5 : 0.9)
    .attr('transform', result => `translate(${x(transferSize(result))},${y(result.bytes_per_s)})`).style('fill', result => result.subject.color);
  for (const label of labels)
    frame.inner.append('text').attr('class', 'limit-name halo').style('stroke', 'var(--ground)').attr('x', label.x).attr('y', label.y).text(label.name);
  tipOn(marks, result => {
    const roof = lowestRoof(panel, result, roofs);
    return `${result.subject.label}\n${result.phase} ${settingText(result, Object.keys(result.parameters))}\n${format.bandwidth(result.bytes_per_s)}`
      + (roof ? `: ${format.share(result.bytes_per_s / roof.value)} of ${roof.name}` : '');
  });
}
